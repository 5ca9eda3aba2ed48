// Package waf looks for attacks in what the contract lets pass: injections into SQL, shells, templates, pages and file
// names, by the OWASP Core Rule Set on the Coraza engine. The contract says what a value may look like; this guard says
// what even an allowed text should not contain. It sees only requests in canonical form and bodies that the strict reader
// has understood, so there is no other reading to hide in.
package waf

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// The reasons for which this guard denies.
const (
	ReasonRule   gate.Reason = "waf.rule"   // rules matched and their scores together reached the threshold
	ReasonEngine gate.Reason = "waf.engine" // the engine cannot judge, so it denies
)

// Reasons lists them.
func Reasons() []string { return []string{string(ReasonEngine), string(ReasonRule)} }

// Config is the section guards.waf.
type Config struct {
	// How suspicious the rules are, 1 to 4. Each step finds more and errs more. Default 1.
	Paranoia int `yaml:"paranoia"`
	// The sum of scores at which a request is denied; a critical rule scores 5. Default 5.
	Threshold int `yaml:"threshold"`
	// Exceptions for requests that the rules misjudge, as narrow as they can be written.
	Except []Exception `yaml:"except"`
}

// Exception lets one rule be, for one argument or everywhere.
type Exception struct {
	// Number of the rule, as events name it, such as 942100.
	Rule int `yaml:"rule"`
	// Name of the argument that the rule does not look at, such as comment or json.note. Without it, the rule is off.
	Argument string `yaml:"argument"`
	// Operation for which it holds. Without it, all.
	Operation string `yaml:"operation"`
}

// Guard is the guard. Make it with New.
type Guard struct {
	cfg   Config
	rules *Rules
}

// New checks the section.
func New(cfg Config, api *gate.API, rules *Rules) (*Guard, error) {
	var m mistake.List
	if cfg.Paranoia < 0 || cfg.Paranoia > 4 {
		m.Add("paranoia", "paranoia: 1", "%d is no paranoia level; they go from 1 to 4", cfg.Paranoia)
	}
	if cfg.Threshold < 0 {
		m.Add("threshold", "threshold: 5", "a negative threshold would deny everything")
	}
	for i, e := range cfg.Except {
		path := fmt.Sprintf("except[%d]", i)
		if e.Rule < 911000 || e.Rule > 944999 {
			m.Add(path+".rule", "942100", "%d is no attack rule of the core rule set; they go from 911000 to 944999", e.Rule)
		}
		if e.Operation != "" && !slices.ContainsFunc(api.Operations, func(op *gate.Operation) bool { return op.Key == e.Operation }) {
			m.Add(path+".operation", nearest(e.Operation, api), "API %q has no operation %q", api.Name, e.Operation)
		}
	}
	if cfg.Paranoia == 0 {
		cfg.Paranoia = 1
	}
	if cfg.Threshold == 0 {
		cfg.Threshold = 5
	}
	return &Guard{cfg: cfg, rules: rules}, m.Err()
}

func nearest(word string, api *gate.API) string {
	known := make([]string, len(api.Operations))
	for i, op := range api.Operations {
		known[i] = op.Key
	}
	return mistake.Nearest(word, known)
}

// NeedsBody tells that bodies are inspected, but for streams and what is declared opaque.
func (g *Guard) NeedsBody(op *gate.Operation) bool { return inspects(op) }

// inspects tells whether the operation may have a body that can be read into a tree.
func inspects(op *gate.Operation) bool {
	if op.Stream.Kind != "" && op.Stream.Kind != "sse" { // what asks for server-sent events is a plain request
		return false
	}
	if op.Contract == nil {
		return true
	}
	for _, b := range op.Contract.Bodies {
		if b.Kind != body.Opaque {
			return true
		}
	}
	return false
}

// transaction is what we use of Coraza's beyond its published interface; the version is pinned.
type transaction interface {
	types.Transaction
	plugintypes.TransactionState
	RemoveRuleByID(id int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, keyRx *regexp.Regexp)
}

// Check runs the rules.
func (g *Guard) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	engine, err := g.rules.compiled()
	if err != nil {
		return gate.Deny(gate.Internal, ReasonEngine, "%v", err)
	}
	tree := &body.Tree{}
	if inspects(x.Operation) && x.Request.Length != 0 {
		var v gate.Verdict
		if tree, v = x.Body(ctx); !v.Allowed() {
			return v
		}
	}
	tx, ok := engine.NewTransactionWithID(x.ID).(transaction)
	if !ok {
		return gate.Deny(gate.Internal, ReasonEngine, "this version of the engine is not the one that is known")
	}
	defer tx.Close()
	g.set(tx, x, tree)
	feedHead(tx, x, tree)
	tx.AddRequestHeader("Content-Length", strconv.FormatInt(sentLength(x, tree), 10))
	if it := tx.ProcessRequestHeaders(); it != nil {
		return g.denial(tx, it, x)
	}
	if err := feedBody(tx, x.Operation, tree); err != nil {
		return gate.Deny(gate.BadRequest, ReasonEngine, "body: %v", err)
	}
	it, err := tx.ProcessRequestBody()
	if err != nil {
		return gate.Deny(gate.Internal, ReasonEngine, "%v", err)
	}
	if it != nil {
		return g.denial(tx, it, x)
	}
	return gate.Allow()
}

// set gives the rules this API's settings, what the contract admitted, and the exceptions.
func (g *Guard) set(tx transaction, x *gate.Exchange, tree *body.Tree) {
	vars := tx.Variables().TX()
	level := strconv.Itoa(g.cfg.Paranoia)
	vars.Set("blocking_paranoia_level", []string{level})
	vars.Set("detection_paranoia_level", []string{level})
	vars.Set("inbound_anomaly_score_threshold", []string{strconv.Itoa(g.cfg.Threshold)})
	vars.Set("allowed_methods", []string{x.Request.Method})
	if media, _, refusal := body.MediaType(x.Request.Fields); refusal == nil && media != "" {
		vars.Set("allowed_request_content_type", []string{"|" + media + "|"})
	}
	for _, e := range g.cfg.Except {
		switch {
		case e.Operation != "" && e.Operation != x.Operation.Key:
		case e.Argument == "":
			tx.RemoveRuleByID(e.Rule)
		default:
			for _, v := range []variables.RuleVariable{variables.Args, variables.ArgsGet, variables.ArgsPost} {
				tx.RemoveRuleTargetByID(e.Rule, v, e.Argument, nil)
			}
		}
	}
}

// feedHead hands over the canonical request line and fields, as the server gets them: the coding of a body that was read
// has been taken off.
func feedHead(tx transaction, x *gate.Exchange, tree *body.Tree) {
	r := x.Request
	tx.ProcessConnection(x.Source.Client.String(), 0, "", 0)
	uri, query := r.Path, canon.EncodeQuery(r.Query)
	if query != "" {
		uri += "?" + query
	}
	tx.ProcessURI(uri, r.Method, "HTTP/"+map[bool]string{true: "2.0", false: "1.1"}[r.Major == 2])
	for _, p := range x.Params {
		tx.AddPathRequestArgument(p.Name, p.Value)
	}
	if x.Operation.Contract == nil { // no template says which parts of the path are values
		for i, s := range r.Segments {
			tx.AddPathRequestArgument("path."+strconv.Itoa(i+1), s)
		}
	}
	if op := x.Operation.Contract; op != nil { // a declared field is a value like any other; the rules look at few fields by themselves
		for _, p := range op.Parameters {
			if p.In == "header" {
				for _, value := range r.Fields.Values(p.Name) {
					tx.AddGetRequestArgument(p.Name, value)
				}
			}
		}
	}
	tx.SetServerName(r.Host)
	tx.AddRequestHeader("Host", r.Host)
	for name, values := range r.Fields {
		if name == "Content-Encoding" && len(tree.Raw) > 0 {
			continue
		}
		for _, v := range values {
			tx.AddRequestHeader(name, v)
		}
	}
	if len(r.Cookies) > 0 && r.Fields.Get("Cookie") == "" {
		tx.AddRequestHeader("Cookie", cookies(r.Cookies))
	}
}

// sentLength is the length with which the body goes on to the server. The canonical form has no such field, and rules count
// a POST without one as suspicious. A body that streams past unread is no body to the rules.
func sentLength(x *gate.Exchange, tree *body.Tree) int64 {
	if len(tree.Raw) > 0 {
		return int64(len(tree.Raw))
	}
	return max(x.Request.Length, 0)
}

func cookies(pairs []canon.Pair) string {
	list := make([]string, len(pairs))
	for i, p := range pairs {
		list[i] = p.Name + "=" + p.Value
	}
	return strings.Join(list, "; ")
}

// feedBody hands over the body as the strict reader understood it: which of the engine's readers sees it follows from the
// kind, not from a second look at the media type. Multipart parts go in as arguments and file names: the engine's own
// reader would write files to disk and read the boundaries its own way. Text is one argument, whatever signs it holds.
// Opaque bytes are not looked into where a contract declares them; without a contract anybody may call anything opaque, so
// they are read as text.
func feedBody(tx transaction, op *gate.Operation, tree *body.Tree) error {
	var processor string
	switch tree.Kind {
	case body.JSON:
		processor = "JSON"
	case body.Form:
		processor = "URLENCODED"
	case body.XML:
		processor = "XML"
		for _, value := range attributes(tree.Raw) {
			tx.AddPostRequestArgument("xml.attribute", value)
		}
	case body.Multipart:
		feedParts(tx, tree.Parts)
		return nil
	case body.Text:
		processor = "RAW"
		tx.AddPostRequestArgument("text", string(tree.Raw))
	case body.Opaque:
		if op.Contract != nil {
			return nil
		}
		processor = "RAW"
		tx.AddPostRequestArgument("bytes", string(tree.Raw))
	default:
		return nil
	}
	set(tx.Variables().RequestBodyProcessor(), processor)
	_, _, err := tx.WriteRequestBody(tree.Raw)
	return err
}

func feedParts(tx transaction, parts []body.Part) {
	set(tx.Variables().RequestBodyProcessor(), "")
	for _, p := range parts {
		if p.FileName == "" {
			tx.AddPostRequestArgument(p.Name, string(p.Data))
			continue
		}
		tx.Variables().Files().Add(p.Name, p.FileName)
		tx.Variables().FilesNames().Add(p.Name, p.Name)
	}
}

// attributes gives the values of all attributes of an XML document, which the core rule set does not look at: its rules
// name the text between the tags only. It forgives what the engine's reader forgives; where it cannot go on, all that is
// left counts as one value.
func attributes(raw []byte) (values []string) {
	d := xml.NewDecoder(bytes.NewReader(raw))
	d.Strict, d.Entity = false, xml.HTMLEntity
	for {
		before := d.InputOffset()
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return values
		}
		if err != nil {
			return append(values, string(raw[before:]))
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				values = append(values, a.Value)
			}
		}
	}
}

func set(v collection.Single, value string) {
	if s, ok := v.(interface{ Set(string) }); ok {
		s.Set(value)
	}
}

// plainName is what the name of an argument looks like. Anything else that stands in its place may be what nobody wants in
// a log.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.\[\]:-]{1,80}$`)

// denial names the rules that matched, the place they matched at, and the exception that would admit just that.
func (g *Guard) denial(tx transaction, it *types.Interruption, x *gate.Exchange) gate.Verdict {
	var words []string
	var first, shown, argument string
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		if id < 911000 || id > 944999 || m.Message() == "" {
			continue
		}
		where := ""
		for _, d := range m.MatchedDatas() {
			where = strings.ToLower(d.Variable().Name())
			if plainName.MatchString(d.Key()) {
				where += ":" + d.Key()
			} else if d.Key() != "" {
				where += ":" + gate.Mask(d.Key())
			}
			if first == "" {
				first, shown = strconv.Itoa(id), gate.Mask(d.Value())
				if strings.HasPrefix(where, "args") && plainName.MatchString(d.Key()) {
					argument = d.Key()
				}
			}
			break
		}
		words = append(words, fmt.Sprintf("%d %s (%s)", id, m.Message(), where))
	}
	if first == "" {
		first = strconv.Itoa(it.RuleID)
	}
	fix := "except: [{rule: " + first
	if argument != "" {
		fix += ", argument: " + argument
	}
	fix += ", operation: " + x.Operation.Key + "}]  # guards.waf"
	return gate.Deny(gate.Attack, ReasonRule, "%s", strings.Join(words, "; ")).At("crs " + first).Showing(shown).Fixed(fix)
}
