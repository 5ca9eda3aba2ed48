//go:build linux

package state

import (
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// TestRotationBeforeAnybodyHasSaidAnything changes the keys in the moment in which another node has opened the keyring and
// nobody knows of it yet: what it then writes must not be under a key that is destroyed.
func TestRotationBeforeAnybodyHasSaidAnything(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	s.overPostgres(t, pgtest.Start(t))
	homes := s.fleetOf(t, 2)
	first := homes[0].start(t)
	second := homes[1].launch(t)
	if out, err := first.run("key", "rotate", "store"); err != nil {
		t.Errorf("%v %s", err, out)
	}
	second.serving(t)
	second.must(t, "token", "revoke", "--id", "t1")
	until(t, "both are seen", 10*time.Second, func() bool { return len(first.status(t).Nodes) == 2 })
	first.must(t, "key", "rotate", "store")
	c := first.client()
	if got := first.get(c, "/open/ping", s.issuer.token("ann", "t1")); got != http.StatusUnauthorized {
		t.Error(got)
	}
}
