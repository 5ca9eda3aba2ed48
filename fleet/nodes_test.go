package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

func member(t *testing.T, durable store.Durable, name string, offset time.Duration, report func() Report) (*Nodes, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n := NewNodes(Config{Name: name}, Identity{ID: "id-" + name, Name: name, Started: time.Now()},
		NodeTools{Durable: durable, Now: func() time.Time { return time.Now().Add(offset) }, Report: report})
	go n.Run(ctx)
	t.Cleanup(func() { cancel(); synctest.Wait() })
	return n, cancel
}

func TestNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		old, fresh := Document{Hash: "aaaaaaaaaaaaaaaaaaaa", Loaded: time.Now().Add(-3 * time.Hour)}, Document{Hash: "bbbb", Loaded: time.Now()}
		ready := func(d Document) func() Report {
			return func() Report { return Report{Program: "1", Document: d, Ready: true} }
		}
		a, _ := member(t, shared, "a", 0, ready(fresh))
		way := &line{shelf: shared}
		b, _ := member(t, way, "b", 0, ready(old))
		_, stopC := member(t, shared, "c", -time.Hour, ready(fresh))
		time.Sleep(3 * time.Minute)
		if a.Count() != 3 || b.Count() != 3 {
			t.Errorf("%d and %d nodes", a.Count(), b.Count())
		}
		s, err := a.Status(t.Context(), nil)
		if err != nil || len(s.Nodes) != 3 || !s.Nodes[0].Self || s.Nodes[1].Self || !s.Drift {
			t.Fatalf("%+v %v", s, err)
		}
		want := []string{"node b serves another document since 3m: aaaaaaaaaaaa, while node a serves bbbb", "the clock of node c is 60m behind this node's"}
		if got := strings.Join(s.Findings, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("%s", got)
		}
		if c := s.Nodes[1].Clock; c < -2.1 || c > 0.1 {
			t.Errorf("a right clock differs by %v s", c)
		}
		text, err := json.Marshal(s)
		if err != nil || !strings.Contains(string(text), `"name":"b"`) || !strings.Contains(string(text), `"drift":true`) {
			t.Errorf("%s %v", text, err)
		}
		stopC() // says goodbye
		way.dead.Store(true)
		time.Sleep(5 * time.Second)
		if n := a.Count(); n != 2 {
			t.Errorf("%d nodes after one has left", n)
		}
		time.Sleep(15 * time.Second)
		if list, _ := a.List(t.Context()); len(list) != 1 || a.Count() != 1 || b.Count() != 3 {
			t.Errorf("%d nodes after one was killed; cut off, it knows %d", len(list), b.Count())
		}
		way.dead.Store(false)
		time.Sleep(5 * time.Second)
		if a.Count() != 2 {
			t.Errorf("%d nodes after one has come back", a.Count())
		}
		way.dead.Store(true)
		time.Sleep(20 * time.Minute)
		if list, _ := shared.List(t.Context(), nodePrefix, "", 10); len(list) != 1 {
			t.Errorf("%d records when one node is left", len(list))
		}
		shared.setGone(true)
		if _, err := a.Status(t.Context(), nil); !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
		shared.setGone(false)
	})
}

// A node that only looks, once: it sees who lives, and not who died an hour ago.
func TestOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		way := &line{shelf: shared}
		member(t, way, "dead", 0, nil)
		time.Sleep(time.Minute)
		way.dead.Store(true)
		time.Sleep(time.Hour)
		member(t, shared, "living", 0, nil)
		time.Sleep(time.Minute + 500*time.Millisecond)
		looking := NewNodes(Config{}, Identity{ID: "x", Name: "x"}, NodeTools{Durable: shared, Now: time.Now})
		list, err := looking.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "living" || list[0].Seen > 2 {
			t.Errorf("%+v %v", list, err)
		}
	})
}

func TestFindingsInWords(t *testing.T) {
	now := time.Now()
	sick := Node{Name: "b", Beat: 2, Seen: 9, Clock: 7, Report: Report{Program: "2",
		Document: Document{Hash: "x", Version: 3, Loaded: now, Refused: "the note is not signed"}, Shared: Shared{Kind: "redis", Down: now.Add(-time.Hour), Error: "refused"},
		Revocations: RevocationStatus{Stale: true, Pending: 2, Unread: 1}}}
	late := Node{Name: "b", Beat: 2, Report: Report{Program: "1", Ready: true, Document: Document{Hash: "y", Version: 4, Loaded: now.Add(-72 * time.Hour)}, Revocations: RevocationStatus{Lag: 12}}}
	list, drift := Findings([]Node{sick, late}, now)
	if !drift || len(list) != 12 {
		t.Errorf("%d: %s", len(list), strings.Join(list, "\n"))
	}
	for _, want := range []string{"since 3d: version 3 (x), while node b serves version 4 (y)", "2 nodes are called b", "2 versions of the program", "is not ready", "9s ago", "7s ahead",
		"(redis) since 60m", "refuses all of them", "for 12s", "2 revocations that the store has not", "not understand 1", "not signed"} {
		if !strings.Contains(strings.Join(list, "\n"), want) {
			t.Errorf("no word of %q in:\n%s", want, strings.Join(list, "\n"))
		}
	}
	if list, drift := Findings(nil, now); drift || len(list) > 0 {
		t.Error(list)
	}
}

func TestConfig(t *testing.T) {
	c := Config{}.WithDefaults(func() (string, error) { return "host-1", nil })
	if c.Name != "host-1" || c.Heartbeat != 2*time.Second || c.Check() != nil || (Config{}).Check() != nil {
		t.Errorf("%+v %v", c, c.Check())
	}
	if c := (Config{}).WithDefaults(func() (string, error) { return "höst 1", nil }); c.Name != "node" {
		t.Errorf("%+v", c)
	}
	wrong := Config{Name: "a b", Heartbeat: time.Minute, Revocations: RevocationConfig{MaxLag: time.Second, LongestToken: time.Second, Most: 1}}
	err := wrong.Check()
	for _, path := range []string{"name", "heartbeat", "revocations.max_lag", "revocations.longest_token", "revocations.most"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("no mistake at %s: %v", path, err)
		}
	}
}

// The number of nodes can be read while the list is.
func TestCountNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &line{shelf: newShelf(time.Now), delay: func() time.Duration { return time.Hour }}
		n := NewNodes(Config{}, Identity{ID: "x", Name: "x"}, NodeTools{Durable: slow, Now: time.Now})
		var done atomic.Bool
		go func() { _, _ = n.List(t.Context()); done.Store(true) }()
		synctest.Wait()
		if n.Count() != 1 {
			t.Error(n.Count())
		}
		time.Sleep(2 * time.Hour)
	})
}

// A node alone on its machine writes seldom, but is neither late nor gone for whoever looks; what is new it tells at the next
// beat, and in company it tells as often as the others.
func TestANodeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		var generation atomic.Int64
		local := func(name string) context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			n := NewNodes(Config{Name: name}, Identity{ID: "id-" + name, Name: name, Started: time.Now()}, NodeTools{Durable: shared, Now: time.Now,
				Report: func() Report {
					return Report{Ready: true, Keyring: generation.Load(), Revocations: RevocationStatus{Lag: float64(time.Now().Second()) / 100}}
				},
				Local: func() bool { return true }})
			go n.Run(ctx)
			t.Cleanup(func() { cancel(); synctest.Wait() })
			return cancel
		}
		writes := func(during time.Duration) int64 {
			version := func() int64 { r, _ := shared.Get(t.Context(), nodePrefix+"id-a"); return r.Version }
			before := version()
			time.Sleep(during)
			return version() - before
		}
		local("a")
		time.Sleep(time.Second)
		if n := writes(100 * time.Second); n != 10 {
			t.Errorf("%d signs of life in 100 s", n)
		}
		looking := NewNodes(Config{}, Identity{ID: "x", Name: "x"}, NodeTools{Durable: shared, Now: time.Now})
		for range 60 {
			time.Sleep(time.Second)
			if s, err := looking.Status(t.Context(), nil); err != nil || len(s.Nodes) != 1 || len(s.Findings) > 0 {
				t.Fatalf("%+v %v", s, err)
			}
		}
		generation.Add(1)
		if n := writes(2 * time.Second); n != 1 {
			t.Errorf("news were told %d times", n)
		}
		stop := local("b")
		time.Sleep(4 * time.Second)
		if n := writes(20 * time.Second); n != 10 {
			t.Errorf("%d signs of life in 20 s in company", n)
		}
		stop()
		time.Sleep(4 * time.Second)
		if n := writes(20 * time.Second); n != 2 {
			t.Errorf("%d signs of life in 20 s when the other has left", n)
		}
	})
}
