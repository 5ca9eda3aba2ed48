package confine_test

import (
	"sync"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// world is what all tests share: the core rules, compiled once.
type world struct {
	list  []*secrule.Rule
	rules *confine.Rules
	asked *sync.Map // rule and text -> whether it matches
}

var shared = sync.OnceValues(func() (w world, err error) {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).
		WithDirectives("SecRxPreFilter On\nInclude @crs-setup.conf.example\nInclude @owasp_crs/*.conf"))
	if err != nil {
		return w, err
	}
	if w.list, err = secrule.Read(waf); err != nil {
		return w, err
	}
	w.asked = new(sync.Map)
	w.rules, err = confine.NewRules(w.list, coreruleset.FS)
	return w, err
})

func the(t testing.TB) world {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func load(t testing.TB, contract string) *openapi.Contract {
	t.Helper()
	c, err := openapi.Load("c.yaml", func(string) ([]byte, error) { return []byte(contract), nil })
	if err != nil {
		t.Fatalf("%v\n%s", err, contract)
	}
	return c
}

func (w world) scope(t testing.TB, op *openapi.Operation) *confine.Scope {
	t.Helper()
	s, err := confine.New(op, w.rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
