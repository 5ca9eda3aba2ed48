//go:build linux

package state

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// moveTo is the command that moves the embedded store to a new database, and the section that a document then needs.
func (s *setting) moveTo(t *testing.T, p *pgtest.Server) (args []string, section string) {
	t.Helper()
	url, ca := database(t, p)
	section = s.postgres(t, url, ca)
	return []string{"store", "migrate", "--to", url, "--password", "file:" + s.dir + "/pg.password", "--ca", ca}, section
}

// with is a setting with another section store.
func (s *setting) with(section string) *setting {
	other := *s
	other.store = section
	return &other
}

// secretKept puts a value into the gateway's own store and takes it out again.
const secretKept = "canary-kept-90d2c1ff"

func keep(t *testing.T, h *home) {
	t.Helper()
	c := h.command("secret", "set", "shop/password")
	c.Stdin = strings.NewReader(secretKept)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("secret set: %v\n%s", err, out)
	}
}

func kept(t *testing.T, h *home) {
	t.Helper()
	says(t, h.must(t, "secret", "list"), "shop/password")
	if out := h.must(t, "secret", "get", "shop/password"); !strings.Contains(out, secretKept) {
		t.Errorf("the secret is %q", out)
	}
}

// TestMove moves a live embedded store to PostgreSQL while requests, revocations and a reload go on. Afterwards the document
// that names the new store is taken, and the old one is refused instead of beginning with an empty store.
func TestMove(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t)
	s := newSetting(t)
	h := s.newHome(t)
	g := h.start(t)
	keep(t, h)
	load := traffic(t, s, []*gateway{g})
	revoked := revoking(h, "moved")
	time.Sleep(time.Second)
	args, section := s.moveTo(t, p)
	t.Log(h.must(t, args...))
	time.Sleep(500 * time.Millisecond)
	ids := revoked()
	asked, wrong := load()
	t.Logf("%d requests, %d revocations while the store was moved; not answered with 200: %v", asked, len(ids), wrong)
	if len(wrong) > 0 || len(ids) < 5 {
		t.Error("the move was noticed")
	}
	allRefused(t, s, h, ids)
	kept(t, h)
	says(t, h.must(t, "store", "status"), "postgres://", "it can be written")

	old, next := s.document(h.port), s.with(section).document(h.port)
	h.write(t, next)
	g.waitFor(t, "document in force") // it says what is the case
	h.write(t, strings.Replace(next, "password: ", "max_connections: 3\n  password: ", 1))
	g.waitFor(t, "restart the gateway")
	g.stop(t)

	h.write(t, old)
	words := h.refused(t)
	t.Log(words)
	says(t, words, "the document says embedded", "store: {url: \"postgres://", "nothing was changed")
	if out, err := h.run("token", "revoke", "--id", "x", "--issuer", issuerName); err == nil {
		t.Errorf("a command begins with an empty store: %s", out)
	}
	h.write(t, next)
	h.start(t)
	allRefused(t, s, h, ids)
	kept(t, h)
}

// TestNotMoved changes the document instead of moving the store: refused, since the new store is empty.
func TestNotMoved(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t)
	s := newSetting(t)
	h := s.newHome(t)
	g := h.start(t)
	h.must(t, "token", "revoke", "--id", "t1")
	_, section := s.moveTo(t, p)
	h.write(t, s.with(section).document(h.port))
	g.waitFor(t, "restart the gateway")
	says(t, g.said(), "gatehouse.yaml:2", "the old one stays in force")
	g.stop(t)
	words := h.refused(t)
	t.Log(words)
	says(t, words, "gatehouse store migrate --to", "store.db", "nothing was changed")
}

// TestKillsOfAMove kills the gateway at random points of a move. Exactly one of both documents is served afterwards, with
// everything that was acknowledged; the other one is refused.
func TestKillsOfAMove(t *testing.T) {
	t.Parallel()
	kills := 10
	if soak() {
		kills = 100
	}
	p := pgtest.Start(t)
	s := newSetting(t)
	longest, went := 150*time.Millisecond, 0
	for i := range kills {
		h := s.newHome(t)
		g := h.start(t)
		h.must(t, "token", "revoke", "--id", "before", "--issuer", issuerName)
		args, section := s.moveTo(t, p)
		old, next := s.document(h.port), s.with(section).document(h.port)
		revoked := revoking(h, fmt.Sprintf("m%d", i))
		cmd := h.command(args...)
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			_ = cmd.Wait()
			longest = time.Since(begin)
		} else {
			time.Sleep(rand.N(longest))
		}
		_ = g.cmd.Process.Signal(syscall.SIGKILL)
		<-g.ended
		ended := revoked()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ids := append(ended, "before")
		serves := ""
		for name, document := range map[string]string{"old": old, "new": next} {
			h.write(t, document)
			g := h.launch(t)
			until(t, "it starts, or is refused", 20*time.Second, func() bool {
				select {
				case <-g.ended:
					return true
				default:
					return strings.Contains(g.said(), "msg=serving")
				}
			})
			if strings.Contains(g.said(), "msg=serving") {
				serves += name
				allRefused(t, s, h, ids)
				g.stop(t)
			} else {
				says(t, g.said(), "the store of this installation is")
			}
		}
		if serves != "old" && serves != "new" {
			t.Errorf("kill %d: served: %q", i, serves)
		}
		if serves == "new" {
			went++
		}
	}
	t.Logf("%d kills within %v: %d times the store is the new one, else the old one", kills, longest.Round(time.Millisecond), went)
}
