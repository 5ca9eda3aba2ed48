package view

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// directives are those of the guard without the core rule set: what a transaction holds does not depend on it.
const directives = `
SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 134217728
SecRequestBodyInMemoryLimit 134217728
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 1024
SecArgumentsLimit 100000
SecResponseBodyAccess Off
SecAuditEngine Off
`

// choosing is how the guard's directives, and those that the engine's authors recommend, choose a reader.
const choosing = `
SecAction "id:100000,phase:1,pass,nolog,t:none,ctl:forceRequestBodyVariable=On"
SecRule REQUEST_HEADERS:Content-Type "@rx ^(?:application(?:/soap\+|/)|text/)xml" "id:100001,phase:1,pass,nolog,t:none,t:lowercase,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/(?:json|[a-z0-9.-]+[+]json)" "id:100002,phase:1,pass,nolog,t:none,t:lowercase,ctl:requestBodyProcessor=JSON"
`

var engine = sync.OnceValue(func() coraza.WAF { return compile(directives) })
var plain = sync.OnceValue(func() coraza.WAF { return compile(directives + choosing) })

func compile(text string) coraza.WAF {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(text))
	if err != nil {
		panic(err)
	}
	return waf
}

// sample is a request as a client sends it.
type sample struct {
	method, target string
	fields         map[string]string
	body           string
	contract       *openapi.Operation
	params         []canon.Pair
}

func post(media, text string) sample {
	return sample{method: "POST", target: "/p", fields: map[string]string{"Content-Type": media}, body: text}
}

// exchange reads a sample the way the gateway does; it is false for what is refused before any rule.
func (s sample) exchange() (*gate.Exchange, *body.Tree, bool) {
	fields := http.Header{}
	for name, value := range s.fields {
		fields.Set(name, value)
	}
	r := &http.Request{Method: s.method, Host: "api.test", RequestURI: s.target, Header: fields, ProtoMajor: 1, ContentLength: int64(len(s.body)), RemoteAddr: "192.0.2.1:1000"}
	c, refusal := canon.New(r, "http", nil)
	if refusal != nil {
		return nil, nil, false
	}
	media, params, refusal := body.MediaType(c.Fields)
	if refusal != nil {
		return nil, nil, false
	}
	kind, ok := body.KindOf(media)
	if !ok {
		return nil, nil, false
	}
	if s.body == "" { // an empty body is no body
		kind, params = body.Empty, nil
	}
	tree, refusal := body.Read(kind, params, c.Fields.Get("Content-Encoding"), strings.NewReader(s.body), body.Limits{Bytes: 8 << 20, Depth: 2000, Params: 200_000, Members: 500_000, Values: 500_000, AllowNUL: true})
	if refusal != nil {
		return nil, nil, false
	}
	x := &gate.Exchange{
		ID: "01JTESTTESTTESTTESTTESTTES", Source: gate.Source{Client: netip.MustParseAddr("192.0.2.1")},
		Request: c, Operation: &gate.Operation{Key: "op", Contract: s.contract}, Params: s.params,
	}
	x.SetBody(func(context.Context) (*body.Tree, gate.Verdict) { return tree, gate.Allow() })
	return x, tree, true
}

type transaction interface {
	types.Transaction
	plugintypes.TransactionState
}

// holdings are the collections of a transaction, by variable, sorted.
type holdings map[variables.RuleVariable][]Pair

func hold(tx transaction) holdings {
	h := holdings{}
	tx.Variables().All(func(v variables.RuleVariable, c collection.Collection) bool {
		var pairs []Pair
		if joined(v) && len(tx.Variables().ArgsPost().FindAll()) > large {
			return true
		}
		for _, m := range c.FindAll() {
			if v == variables.TX {
				break
			}
			pairs = append(pairs, Pair{m.Key(), m.Value()})
		}
		h[v] = sorted(pairs)
		return true
	})
	for _, text := range tx.Variables().TX().Get("json_request_body") { // for @validateSchema
		h[variables.TX] = []Pair{{"json_request_body", text}}
	}
	return h
}

// large is how many arguments make what only repeats them too slow to compare.
const large = 5000

func joined(v variables.RuleVariable) bool {
	return v == variables.Args || v == variables.ArgsNames || v == variables.ArgsPostNames
}

func sorted(pairs []Pair) []Pair {
	pairs = slices.Clone(pairs)
	slices.SortFunc(pairs, func(a, b Pair) int {
		if a.Key != b.Key {
			return strings.Compare(a.Key, b.Key)
		}
		return strings.Compare(a.Text, b.Text)
	})
	return pairs
}

// fed gives what a transaction holds in phases 1 and 2 when a view is fed to it.
func fed(t testing.TB, v *View, id string) (head, all holdings) {
	t.Helper()
	tx := engine().NewTransactionWithID(id).(transaction)
	defer tx.Close()
	if err := v.FeedHead(tx); err != nil {
		t.Fatal(err)
	}
	tx.ProcessRequestHeaders()
	head = hold(tx)
	if err := v.FeedBody(tx); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		t.Fatal(err)
	}
	if tx.LastPhase() != types.PhaseRequestBody {
		t.Fatalf("the last phase is %d", tx.LastPhase())
	}
	return head, hold(tx)
}

// parsed gives what the engine holds when it reads the same request with its own readers: the path as it is sent on, the
// query as it came, the bytes of the body.
func parsed(t testing.TB, s sample, x *gate.Exchange, tree *body.Tree) (head, all holdings) {
	t.Helper()
	tx := plain().NewTransactionWithID(x.ID).(transaction)
	defer tx.Close()
	tx.ProcessConnection("192.0.2.1", 0, "", 0)
	uri := x.Request.Path
	if _, query, ok := strings.Cut(s.target, "?"); ok && query != "" {
		uri += "?" + query
	}
	tx.ProcessURI(uri, x.Request.Method, "HTTP/1.1")
	for _, p := range x.Params {
		tx.AddPathRequestArgument(p.Name, p.Value)
	}
	if s.contract == nil {
		for i, segment := range strings.Split(x.Request.Path[1:], "/") {
			value, err := url.PathUnescape(segment)
			if err != nil {
				t.Fatal(err)
			}
			tx.AddPathRequestArgument("path."+strconv.Itoa(i+1), value)
		}
	}
	tx.SetServerName("api.test")
	tx.AddRequestHeader("Host", "api.test")
	for name, values := range x.Request.Fields {
		for _, value := range values {
			if name != "Content-Encoding" {
				tx.AddRequestHeader(name, value)
			}
		}
	}
	tx.AddRequestHeader("Content-Length", strconv.Itoa(len(tree.Raw)))
	tx.ProcessRequestHeaders()
	head = hold(tx)
	if it, _, err := tx.WriteRequestBody(tree.Raw); it != nil || err != nil {
		t.Fatal(it, err)
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		t.Fatal(err)
	}
	return head, hold(tx)
}

func show(pairs []Pair) string {
	var b bytes.Buffer
	for i, p := range pairs {
		if i == 20 {
			fmt.Fprintf(&b, " ... (%d)", len(pairs))
			break
		}
		fmt.Fprintf(&b, " %.80q=%.120q", p.Key, p.Text)
	}
	return b.String()
}
