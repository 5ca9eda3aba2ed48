package referee

import (
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Collector makes collections of messages, by the engine's own readers: what the engine would hold of them if it were given
// bytes. What the gateway holds of the same message may differ where its strict readers refuse or decode more.
type Collector struct{ waf coraza.WAF }

// readers choose the engine's reader of a body by its media type, as the gateway chooses its own by what it has understood.
const readers = `
SecAction "id:109990,phase:1,pass,nolog,t:none,ctl:forceRequestBodyVariable=On"
SecRule REQUEST_HEADERS:Content-Type "@rx ^(?:application(?:/soap\+|/)|text/)xml" "id:109991,phase:1,pass,nolog,t:none,t:lowercase,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/(?:json|[a-z0-9.-]+[+]json)" "id:109992,phase:1,pass,nolog,t:none,t:lowercase,ctl:requestBodyProcessor=JSON"
`

// withReaders puts them before the first rules.
func withReaders(directives string) string {
	head, rules, found := strings.Cut(directives, "Include ")
	if !found {
		return directives + readers
	}
	return head + readers + "Include " + rules
}

// NewCollector takes the directives without the rules that they include.
func NewCollector(directives string) (*Collector, error) {
	var kept []string
	for line := range strings.Lines(withReaders(directives)) {
		if !strings.HasPrefix(line, "Include ") {
			kept = append(kept, line)
		}
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(strings.Join(kept, "")))
	if err != nil {
		return nil, err
	}
	return &Collector{waf}, nil
}

// unfed are variables that the engine derives, that rules write, or that time and chance make.
var unfed = map[string]bool{
	"ARGS": true, "ARGS_NAMES": true, "ARGS_GET_NAMES": true, "ARGS_POST_NAMES": true, "ARGS_COMBINED_SIZE": true, "REQUEST_HEADERS_NAMES": true,
	"REQUEST_COOKIES_NAMES": true, "RESPONSE_HEADERS_NAMES": true, "MATCHED_VAR": true, "MATCHED_VAR_NAME": true, "MATCHED_VARS": true,
	"MATCHED_VARS_NAMES": true, "RULE": true, "TX": true, "ENV": true, "UNIQUE_ID": true, "DURATION": true, "HIGHEST_SEVERITY": true, "XML": true,
	"FILES_TMPNAMES": true, "FILES_TMP_CONTENT": true,
}

// Collect reads a message.
func (c *Collector) Collect(m Message) (Request, error) {
	tx, ok := c.waf.NewTransactionWithID("collect").(transaction)
	if !ok {
		return Request{}, errUnknownEngine
	}
	defer tx.Close()
	tx.ProcessConnection("127.0.0.1", 40000, "127.0.0.1", 80)
	tx.ProcessURI(m.Target, m.Method, m.Version)
	if host, ok := m.field("Host"); ok {
		tx.SetServerName(host)
	}
	for _, f := range m.Fields {
		tx.AddRequestHeader(f.Name, f.Value)
	}
	var r Request
	r.Head = snapshot(tx)
	tx.ProcessRequestHeaders()
	if _, _, err := tx.WriteRequestBody(m.Body); err != nil {
		return r, err
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return r, err
	}
	r.Body = without(snapshot(tx), r.Head)
	if text := tx.Variables().TX().Get("json_request_body"); len(text) > 0 {
		r.Body = append(r.Body, Value{"TX", "json_request_body", strings.Clone(text[0])})
	}
	return r, nil
}

// snapshot copies everything that the engine holds and that can be fed.
func snapshot(tx transaction) []Value {
	var list []Value
	tx.Variables().All(func(v variables.RuleVariable, c collection.Collection) bool {
		name := v.Name()
		if unfed[name] || strings.HasPrefix(name, "TIME") || c == nil {
			return true
		}
		for _, d := range c.FindAll() {
			if _, single := c.(collection.Single); single && d.Value() == "" {
				continue
			}
			list = append(list, Value{name, strings.Clone(d.Key()), strings.Clone(d.Value())})
		}
		return true
	})
	slices.SortStableFunc(list, func(a, b Value) int {
		if a.Variable != b.Variable {
			return strings.Compare(a.Variable, b.Variable)
		}
		return strings.Compare(a.Key, b.Key)
	})
	return list
}

// without takes each value of a second list once from the first.
func without(list, known []Value) []Value {
	count := map[Value]int{}
	for _, v := range known {
		count[v]++
	}
	return slices.DeleteFunc(list, func(v Value) bool {
		count[v]--
		return count[v] >= 0
	})
}
