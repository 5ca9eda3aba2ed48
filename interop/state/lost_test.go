package state

import (
	"os"
	"path/filepath"
	"testing"
)

// TestEmbedded starts one gateway with no words about state, calls a token back, and starts again.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	h := s.newHome(t)
	g := h.start(t)
	c := h.client()
	token := s.issuer.token("ann", "t1")
	if got := h.get(c, "/open/ping", token); got != 200 {
		t.Fatal(got)
	}
	t.Log(h.must(t, "token", "revoke", "--id", "t1", "--why", "a test"))
	if got := h.get(c, "/open/ping", token); got != 401 {
		t.Fatal(got)
	}
	g.stop(t)
	g = h.start(t)
	if got := h.get(c, "/open/ping", token); got != 401 {
		t.Fatal(got)
	}
	g.stop(t)
	t.Log(g.said())
	if err := os.Rename(h.state("store.db"), filepath.Join(h.dir, "away")); err != nil {
		t.Fatal(err)
	}
	t.Log(h.refused(t))
}
