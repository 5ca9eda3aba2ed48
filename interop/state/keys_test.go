//go:build linux

package state

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// traffic asks all gateways about 50 times a second until end is called, which gives how many answers there were and every
// one that was not 200.
func traffic(t *testing.T, s *setting, nodes []*gateway) (end func() (asked int64, wrong map[string]int)) {
	t.Helper()
	var asked atomic.Int64
	var mu sync.Mutex
	wrong := map[string]int{}
	stop := make(chan struct{})
	var all sync.WaitGroup
	token := s.issuer.token("traffic", "traffic")
	for i, g := range nodes {
		all.Go(func() {
			c := g.client()
			tick := time.NewTicker(time.Second * time.Duration(len(nodes)) / 50)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				asked.Add(1)
				if got := g.get(c, "/open/ping", token); got != http.StatusOK {
					mu.Lock()
					wrong[fmt.Sprintf("node %d: %d", i+1, got)]++
					mu.Unlock()
				}
			}
		})
	}
	return func() (int64, map[string]int) {
		close(stop)
		all.Wait()
		return asked.Load(), wrong
	}
}

// revoking calls tokens back, one after the other, through a gateway until end is called, which gives those that were
// acknowledged.
func revoking(h *home, prefix string) (end func() []string) {
	var acknowledged []string
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprintf("%s-%d", prefix, i)
			if _, err := h.run("token", "revoke", "--id", id, "--issuer", issuerName); err == nil {
				acknowledged = append(acknowledged, id)
			}
		}
	}()
	return func() []string {
		close(stop)
		<-done
		return acknowledged
	}
}

// allRefused fails the test for every token that is taken although it was called back.
func allRefused(t *testing.T, s *setting, h *home, ids []string) {
	t.Helper()
	c := h.client()
	for _, id := range ids {
		if got := h.get(c, "/open/ping", s.issuer.token("ann", id)); got != http.StatusUnauthorized {
			t.Errorf("%s was called back, and is answered with %d", id, got)
		}
	}
}

// TestRotationUnderLoad changes all keys while requests and revocations go on: none fails, none is lost, also for a node
// that another one's rotation surprises.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	rotate := func(t *testing.T, s *setting, nodes []*gateway) {
		load := traffic(t, s, nodes)
		last := nodes[len(nodes)-1]
		revoked := revoking(last.home, "rotated")
		begin := time.Now()
		out := nodes[0].must(t, "key", "rotate")
		says(t, out, "store", "now version 2")
		for time.Since(begin) < 1500*time.Millisecond {
			out = nodes[0].must(t, "key", "rotate")
		}
		took := time.Since(begin)
		if strings.Contains(out, "still open") {
			t.Errorf("not ended:\n%s", out)
		}
		ids := revoked()
		asked, wrong := load()
		t.Logf("%d requests and %d revocations while all keys were changed in %v; not answered with 200: %v", asked, len(ids), took.Round(time.Millisecond), wrong)
		if len(wrong) > 0 || len(ids) == 0 {
			t.Fatalf("wrong: %v; %d revocations", wrong, len(ids))
		}
		until(t, "the last one is refused by all", time.Second, func() bool {
			for _, g := range nodes {
				if g.get(g.client(), "/open/ping", s.issuer.token("ann", ids[len(ids)-1])) != http.StatusUnauthorized {
					return false
				}
			}
			return true
		})
		for _, g := range nodes {
			allRefused(t, s, g.home, ids)
			g.stop(t)
		}
		for _, g := range nodes {
			again := g.home.start(t)
			allRefused(t, s, again.home, ids)
			if out := again.must(t, "key", "status"); strings.Contains(out, "not sealed anew yet") {
				t.Errorf("old keys are left:\n%s", out)
			}
		}
		if _, err := nodes[0].run("key", "rotate", "fleet"); err == nil {
			t.Error("the key of names is changed")
		}
	}
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		s := newSetting(t)
		rotate(t, s, []*gateway{s.newHome(t).start(t)})
	})
	t.Run("two nodes over PostgreSQL", func(t *testing.T) {
		t.Parallel()
		s := newSetting(t)
		s.overPostgres(t, pgtest.Start(t))
		rotate(t, s, startAll(t, s.fleetOf(t, 2)))
	})
}

// TestKills kills the gateway, or the command that works without one, at random points of what changes the store and its
// keys. What was acknowledged before is there when it starts again (row I14).
func TestKills(t *testing.T) {
	t.Parallel()
	kills := 20
	if soak() {
		kills = 200
	}
	for _, c := range []struct {
		name string
		args func(t *testing.T, h *home, i int) []string
	}{
		{"token revoke", func(_ *testing.T, _ *home, i int) []string {
			return []string{"token", "revoke", "--id", fmt.Sprintf("more-%d", i), "--issuer", issuerName}
		}},
		{"key rotate", func(*testing.T, *home, int) []string { return []string{"key", "rotate"} }},
		{"key rekey", func(t *testing.T, h *home, i int) []string {
			root := write(t, filepath.Join(h.dir, fmt.Sprintf("root-%d.key", i)), randomKey()+"\n")
			text, err := os.ReadFile(h.config())
			if err != nil {
				t.Fatal(err)
			}
			return []string{"key", "rekey", "--config", write(t, filepath.Join(h.dir, "next.yaml"), "key: {root: \"file:"+root+"\"}\n"+withoutKey(string(text)))}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSetting(t)
			s.more = "fleet: {heartbeat: 500ms}\n"
			h := s.newHome(t)
			g := h.start(t)
			var ids []string
			moved := 0
			longest := 300 * time.Millisecond
			for i := range kills {
				revoked := revoking(h, fmt.Sprintf("k%d", i))
				cmd := h.command(c.args(t, h, i)...)
				begin := time.Now()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(rand.N(longest))
				if i%4 == 3 { // some end by themselves, which tells how long they take
					_ = cmd.Wait()
					longest = max(50*time.Millisecond, time.Since(begin)*5/4)
				}
				_ = g.cmd.Process.Signal(syscall.SIGKILL)
				<-g.ended
				_ = cmd.Process.Kill() // it may have begun on its own after the gateway was gone
				_ = cmd.Wait()
				ids = append(ids, revoked()...)
				g = restart(t, h, c.name == "key rekey", &moved)
				allRefused(t, s, h, ids[max(0, len(ids)-30):])
			}
			allRefused(t, s, h, ids)
			t.Logf("%d kills, %d revocations acknowledged, none lost; %d times under another root key", kills, len(ids), moved)
			if out, err := h.run("key", "rotate"); err != nil {
				t.Errorf("a last rotation: %v\n%s", err, out)
			}
		})
	}
}

// restart starts a gateway after a kill. Where the root key was being changed, exactly one of both documents opens the
// keyring: the operator's own rule is to try the new one when the old one is refused.
func restart(t *testing.T, h *home, rekeyed bool, moved *int) *gateway {
	t.Helper()
	g := h.launch(t)
	if !rekeyed {
		g.serving(t)
		return g
	}
	until(t, "it starts, or is refused", 20*time.Second, func() bool {
		select {
		case <-g.ended:
			return true
		default:
			return strings.Contains(g.said(), "msg=serving")
		}
	})
	if strings.Contains(g.said(), "msg=serving") {
		return g
	}
	says(t, g.said(), "root key")
	next, err := os.ReadFile(filepath.Join(h.dir, "next.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	*moved++
	h.write(t, string(next))
	return h.start(t)
}

// withoutKey is a document without its section key.
func withoutKey(document string) string {
	var kept strings.Builder
	for line := range strings.Lines(document) {
		if !strings.HasPrefix(line, "key:") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
