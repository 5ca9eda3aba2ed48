package secret_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// A resolver waits at its first question for a reference, and never again: not for a source that is down, not for a store
// that would have to be asked who may read.
func TestAResolverAsksOnce(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	resolve := b.keeper.Resolver(t.Context(), "apis.shop")
	if _, err := resolve(reference(t, "vault:none/none#x")); err == nil {
		t.Error("resolved")
	}
	ref := reference(t, "vault:a/b#x")
	if _, err := resolve(ref); err != nil {
		t.Fatal(err)
	}
	b.source.readers = map[string]string{"a/b": "listen"}
	b.source.put("a/b", "x", canary+"2")
	asked := b.source.asked
	if v, err := resolve(ref); err != nil || string(v.Reveal()) != canary || b.source.asked != asked {
		t.Errorf("%v, asked %d times", err, b.source.asked-asked)
	}
	b.steps(time.Minute, 10*time.Second)
	if v, err := resolve(ref); err != nil || string(v.Reveal()) != canary+"2" {
		t.Error(err)
	}
	b.source.failing(func(int) error { return errDown })
	b.steps(2*time.Hour, time.Minute)
	if v, err := resolve(ref); err == nil || !v.IsZero() {
		t.Error("open long after the source was lost (I6)")
	}
}

func TestRefs(t *testing.T) {
	type tls struct {
		Cert, Key secret.Ref
		Other     *secret.Ref
		hidden    secret.Ref
	}
	type document struct {
		TLS    *tls
		List   []tls
		ByName map[string]tls
		Any    any
		When   time.Time
		Addr   netip.Prefix
	}
	r := func(text string) secret.Ref { return reference(t, text) }
	other := r("vault:a/b#c")
	got := secret.Refs(nil, document{}, &document{
		TLS: &tls{Cert: r("file:/a"), Key: r("file:/b"), hidden: r("file:/hidden")}, List: []tls{{Cert: r("file:/a")}, {Key: r("env:K"), Other: &other}},
		ByName: map[string]tls{"x": {Key: r("store:k")}}, Any: tls{Key: r("credential:k")}, When: time.Now(),
	}, (*document)(nil))
	if want := []secret.Ref{r("file:/a"), r("file:/b"), r("env:K"), other, r("store:k"), r("credential:k")}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
