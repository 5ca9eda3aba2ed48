package view

import (
	"errors"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Transaction is what is used of a transaction of the engine. It was made with the exchange's id, and nothing was put into
// it.
type Transaction interface {
	ProcessConnection(client string, clientPort int, server string, serverPort int)
	SetServerName(name string)
	Variables() plugintypes.TransactionVariables
}

var errEngine = errors.New("this version of the engine is not the one that is known")

// FeedHead hands over what rules of phase 1 see; call it before ProcessRequestHeaders. An error means that the engine
// cannot be fed, and that the request has not been inspected.
func (v *View) FeedHead(tx Transaction) error {
	tx.ProcessConnection(v.Single(variables.RemoteAddr), 0, "", 0)
	tx.SetServerName(v.Single(variables.ServerName))
	vars := tx.Variables()
	err := errors.Join(
		set(vars.RequestMethod(), v.Single(variables.RequestMethod)),
		set(vars.RequestProtocol(), v.Single(variables.RequestProtocol)),
		set(vars.RequestLine(), v.Single(variables.RequestLine)),
		set(vars.RequestURI(), v.Single(variables.RequestURI)),
		set(vars.RequestURIRaw(), v.Single(variables.RequestURIRaw)),
		set(vars.RequestFilename(), v.Single(variables.RequestFilename)),
		set(vars.RequestBasename(), v.Single(variables.RequestBasename)),
		set(vars.QueryString(), v.Single(variables.QueryString)),
		set(vars.RequestBodyProcessor(), v.Single(variables.ReqbodyProcessor)),
		set(vars.ArgumentsLimitReached(), v.head.limit[0].Text),
	)
	add(vars.ArgsGet(), v.Of(variables.ArgsGet))
	add(vars.ArgsPath(), v.Of(variables.ArgsPath))
	add(vars.RequestHeaders(), v.Of(variables.RequestHeaders))
	add(vars.RequestCookies(), v.Of(variables.RequestCookies))
	return err
}

// FeedBody hands over what rules of phase 2 see besides; call it between ProcessRequestHeaders and ProcessRequestBody.
// No bytes are written to the engine's own buffer: it then has no body to parse, and evaluates the rules on what it holds.
func (v *View) FeedBody(tx Transaction) error {
	vars := tx.Variables()
	err := errors.Join(
		set(vars.RequestBodyProcessor(), v.Single(variables.ReqbodyProcessor)),
		set(vars.ArgumentsLimitReached(), v.Single(variables.ArgumentsLimitReached)),
		set(vars.InboundDataError(), v.Single(variables.InboundDataError)),
		set(vars.RequestBody(), v.Single(variables.RequestBody)),
		set(vars.RequestBodyLength(), v.Single(variables.RequestBodyLength)),
		set(vars.RequestBodyError(), v.Single(variables.ReqbodyError)),
		set(vars.RequestBodyErrorMsg(), v.Single(variables.ReqbodyErrorMsg)),
		set(vars.RequestBodyProcessorError(), v.Single(variables.ReqbodyProcessorError)),
		set(vars.RequestBodyProcessorErrorMsg(), v.Single(variables.ReqbodyProcessorErrorMsg)),
		set(vars.FilesCombinedSize(), v.Single(variables.FilesCombinedSize)),
	)
	add(vars.ArgsPost(), v.Of(variables.ArgsPost))
	add(vars.RequestXML(), v.Of(variables.XML))
	add(vars.Files(), v.Of(variables.Files))
	add(vars.FilesNames(), v.Of(variables.FilesNames))
	add(vars.FilesSizes(), v.Of(variables.FilesSizes))
	add(vars.MultipartName(), v.Of(variables.MultipartName))
	add(vars.MultipartFilename(), v.Of(variables.MultipartFilename))
	add(vars.MultipartPartHeaders(), v.Of(variables.MultipartPartHeaders))
	if v.tree != nil && v.tree.Kind == body.JSON && len(v.tree.Raw) > 0 && v.json.fault == "" {
		vars.TX().Set("json_request_body", []string{string(v.tree.Raw)}) // what @validateSchema reads
	}
	return err
}

func set(single collection.Single, text string) error {
	s, ok := single.(interface{ Set(string) })
	if !ok {
		return errEngine
	}
	s.Set(text)
	return nil
}

// add gives each value its own copy of its key. The engine remembers what transformations made of a value by the address
// of the key's bytes and the place of the value in the list that a rule reads, and lists come in random order: when two
// values share the bytes of a key, a rule may be shown the one in place of the other, and miss it.
func add(to collection.Map, pairs []Pair) {
	for i := range pairs {
		to.Add(own(pairs[i].Key), pairs[i].Text)
	}
}

// own copies a key to an address of its own. An empty one has an address too: strings.Clone would give all of them none.
func own(key string) string {
	if key == "" {
		return strings.Clone("-")[:0]
	}
	return strings.Clone(key)
}
