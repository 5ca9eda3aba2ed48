package view

import (
	"net/textproto"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// processor is the engine's name for the reader of a body: what the body was read as, and not what a field says of it.
func processor(x *gate.Exchange, tree *body.Tree) string {
	switch tree.Kind {
	case body.JSON:
		return "JSON"
	case body.Form:
		return "URLENCODED"
	case body.Multipart:
		return "MULTIPART"
	case body.XML:
		return "XML"
	case body.Text:
		return "RAW"
	case body.Opaque:
		if !declaresOpaque(x.Operation) {
			return "RAW"
		}
	}
	return ""
}

// declaresOpaque tells that bytes which nobody reads may be what a contract declares. Where it declares no body at all, and
// is not enforced, anybody may call anything opaque, as without a contract.
func declaresOpaque(op *gate.Operation) bool {
	return op.Contract != nil && len(op.Contract.Bodies) > 0
}

// fillBody reads the body as the strict reader understood it. Text is one argument, whatever signs it holds. Opaque bytes
// are not looked into where a contract declares them; elsewhere they are read as text.
func (v *View) fillBody(x *gate.Exchange, tree *body.Tree) {
	if len(tree.Raw) >= mostBytes {
		v.tooMany = true
		v.single[variables.InboundDataError].Text = "1"
		return
	}
	switch tree.Kind {
	case body.JSON:
		v.fillJSON(tree)
	case body.Form:
		for _, p := range tree.Form {
			v.arg(v.args.post, p.Name, p.Value)
		}
		v.setBody(string(tree.Raw))
	case body.Multipart:
		v.fillParts(tree.Parts)
	case body.XML:
		v.fillXML(tree.Raw)
	case body.Text:
		text := string(tree.Raw)
		v.arg(v.args.post, "text", text)
		v.setBody(text)
	case body.Opaque:
		if !declaresOpaque(x.Operation) {
			bytes := string(tree.Raw)
			v.arg(v.args.post, "bytes", bytes)
			v.setBody(bytes)
		}
	}
}

// setBody gives the body as a whole, which the engine has only of what is no JSON, XML or multipart.
func (v *View) setBody(text string) {
	v.single[variables.RequestBody].Text = text
	v.single[variables.RequestBodyLength].Text = strconv.Itoa(len(text))
}

// fail says that the body could not be read, in the variables that the engine has for it.
func (v *View) fail(what string) {
	v.single[variables.ReqbodyError].Text = "1"
	v.single[variables.ReqbodyErrorMsg].Text = v.single[variables.ReqbodyProcessor].Text + ": " + what
	v.single[variables.ReqbodyProcessorError].Text = "1"
	v.single[variables.ReqbodyProcessorErrorMsg].Text = what
}

// fillParts reads the parts: a field is an argument, a file has its name and its size. The data of files is not
// inspected, as the engine does not either. The lines of a part's header are those that were sent, as the engine writes them:
// the name in the spelling Content-Type, the value without white space around it. The strict reader admits three names, and
// each but once.
func (v *View) fillParts(parts []body.Part) {
	total := 0
	for i := range parts {
		p := &parts[i]
		total += len(p.Data)
		for _, line := range p.Header {
			name, value, _ := strings.Cut(line, ":")
			v.add(variables.MultipartPartHeaders, p.Name, textproto.CanonicalMIMEHeaderKey(name)+": "+strings.Trim(value, " \t"))
		}
		v.add(variables.MultipartName, p.Name, p.Name)
		if p.FileName == "" {
			v.arg(v.args.post, p.Name, string(p.Data))
			continue
		}
		v.add(variables.Files, "", p.FileName)
		v.add(variables.FilesNames, "", p.Name)
		v.add(variables.FilesSizes, p.FileName, strconv.Itoa(len(p.Data)))
		v.add(variables.MultipartFilename, p.Name, p.FileName)
	}
	v.single[variables.FilesCombinedSize].Text = strconv.Itoa(total)
}
