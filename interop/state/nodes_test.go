//go:build linux

package state

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// fleetOf makes homes that share one place for the root key, as nodes of one installation do.
func (s *setting) fleetOf(t *testing.T, n int) (homes []*home) {
	t.Helper()
	if !strings.Contains(s.more, "key:") {
		root := write(t, filepath.Join(s.dir, "root.key"), randomKey()+"\n")
		s.more += "key: {root: \"file:" + root + "\"}\n"
	}
	for i := range n {
		s := *s
		s.more += fmt.Sprintf("fleet: {name: node-%d, heartbeat: 500ms}\n", i+1)
		homes = append(homes, s.newHome(t))
	}
	return homes
}

// startAll starts gateways at the same instant.
func startAll(t *testing.T, homes []*home) (all []*gateway) {
	t.Helper()
	for _, h := range homes {
		all = append(all, h.launch(t))
	}
	for _, g := range all {
		g.serving(t)
	}
	return all
}

// reach revokes tokens through one node, one after the other, and gives how long it takes, from the command's end, until all
// others refuse them.
func reach(t *testing.T, s *setting, nodes []*gateway, prefix string, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	clients := make([]*http.Client, len(nodes))
	for i, g := range nodes {
		clients[i] = g.client()
	}
	for i := range n {
		id := fmt.Sprintf("%s-%d", prefix, i)
		token := s.issuer.token("ann", id)
		for j, g := range nodes {
			if got := g.get(clients[j], "/open/ping", token); got != http.StatusOK {
				t.Fatalf("%s on node %d before it is called back: %d", id, j+1, got)
			}
		}
		nodes[i%len(nodes)].must(t, "token", "revoke", "--id", id)
		took = append(took, until(t, id+" is refused by all", 5*time.Second, func() bool {
			for j, g := range nodes {
				if g.get(clients[j], "/open/ping", token) != http.StatusUnauthorized {
					return false
				}
			}
			return true
		}))
	}
	slices.Sort(took)
	return took
}

func within(t *testing.T, what string, took []time.Duration, most time.Duration) {
	t.Helper()
	t.Logf("%s: p50 %v, p99 %v of %d", what, took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), len(took))
	if worst := took[len(took)-1]; worst > most {
		t.Errorf("%s: %v until all nodes refuse", what, worst)
	}
}

// status is gatehouse status, as JSON.
type status struct {
	Nodes []struct {
		Name     string
		Ready    bool
		Self     bool
		Document struct{ Hash, Refused string }
		Shared   struct{ Kind string }
	}
	Findings []string
}

func (h *home) status(t *testing.T) (s status) {
	t.Helper()
	c := h.command("status", "--json")
	out, err := c.Output()
	if len(out) == 0 {
		t.Fatalf("gatehouse status: %v", err)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return s
}

// TestNodes is what the issue is shown by: two gateways on one machine over PostgreSQL and Redis, and then a third.
func TestNodes(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	p, r := pgtest.Start(t), startRedis(t)
	s.overPostgres(t, p)
	s.overRedis(t, r)
	homes := s.fleetOf(t, 3)
	nodes := startAll(t, homes[:2]) // the first start of both, against a database in which nothing is
	made := 0
	for _, g := range nodes {
		made += strings.Count(g.said(), "made a root key")
	}
	var keyrings [2]string
	for i, g := range nodes {
		keyrings[i] = field(g.must(t, "key", "status"), "keyring")
	}
	if keyrings[0] != keyrings[1] {
		t.Fatalf("two keyrings: %q and %q", keyrings[0], keyrings[1])
	}
	t.Log(made, "told of a root key;", keyrings[0])

	within(t, "two nodes, all well", reach(t, s, nodes, "two", 20), time.Second)

	c := nodes[1].client()
	ended := nodes[1].stream(t, c, s.issuer.token("bob", "stream"))
	nodes[0].must(t, "token", "revoke", "--id", "stream")
	begin := time.Now()
	select {
	case <-ended:
		t.Logf("a stream at the other node ended %v after the revocation", time.Since(begin).Round(time.Millisecond))
	case <-time.After(3 * time.Second):
		t.Error("a stream at the other node goes on")
	}

	nodes = append(nodes, startAll(t, homes[2:])...)
	if got := nodes[2].get(nodes[2].client(), "/open/ping", s.issuer.token("ann", "two-0")); got != http.StatusUnauthorized {
		t.Errorf("a node that came later answers %d to what was called back", got)
	}
	t.Run("status", func(t *testing.T) { statusOf(t, s, nodes) })
	t.Run("limit", func(t *testing.T) { limit(t, s, nodes) })
	t.Run("faults", func(t *testing.T) {
		r.Pause()
		within(t, "three nodes, Redis frozen", reach(t, s, nodes, "frozen", 10), time.Second)
		r.Resume()
		r.Kill()
		within(t, "three nodes, Redis killed", reach(t, s, nodes, "killed", 10), time.Second)
		r.Restart(t)
		until(t, "Redis is reached again", 10*time.Second, func() bool {
			return strings.Contains(nodes[0].must(t, "store", "status"), "reached")
		})
		within(t, "three nodes, Redis back", reach(t, s, nodes, "back", 10), time.Second)
	})
	t.Run("killed", func(t *testing.T) {
		nodes[2].kill()
		took := until(t, "the killed node is gone", 15*time.Second, func() bool { return len(nodes[0].status(t).Nodes) == 2 })
		t.Logf("a killed node is gone from status after %v", took.Round(100*time.Millisecond))
	})
	t.Run("without PostgreSQL", func(t *testing.T) { withoutPostgres(t, s, p, nodes[:2]) })
}

// field is the line of a listing that begins with a word.
func field(text, word string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// statusOf: all nodes are seen, with one document; a document that differs is told, on every node.
func statusOf(t *testing.T, s *setting, nodes []*gateway) {
	until(t, "all nodes are seen", 10*time.Second, func() bool {
		got := nodes[0].status(t)
		ready := 0
		for _, n := range got.Nodes {
			if n.Ready {
				ready++
			}
		}
		return ready == len(nodes)
	})
	t.Log(nodes[1].run("status"))
	other := *s
	other.more += "audit: {}\n"
	other.more += "fleet: {name: node-2, heartbeat: 500ms}\n"
	nodes[1].write(t, other.document(nodes[1].port))
	nodes[1].waitFor(t, "document in force")
	until(t, "drift is told", 10*time.Second, func() bool {
		return slices.ContainsFunc(nodes[0].status(t).Findings, func(f string) bool {
			return strings.Contains(f, "serves another document") && strings.Contains(f, "node-2")
		})
	})
	out, err := nodes[0].run("status")
	if err == nil {
		t.Error("status exits 0 though nodes differ")
	}
	t.Log(out)
}

// limit: a limit that three nodes share admits what one admits, within a few percent.
func limit(t *testing.T, s *setting, nodes []*gateway) {
	var admitted, refused, other atomic.Int64
	var all sync.WaitGroup
	token := s.issuer.token("carl", "limit")
	for _, g := range nodes {
		for range 4 {
			all.Go(func() {
				c := g.client()
				for range 60 {
					switch got := g.get(c, "/limited/ping", token); got {
					case http.StatusOK:
						admitted.Add(1)
					case http.StatusTooManyRequests:
						refused.Add(1)
					default:
						other.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	t.Logf("a burst of %d over %d nodes: %d admitted, %d refused", s.burst, len(nodes), admitted.Load(), refused.Load())
	if n := int(admitted.Load()); n < s.burst*97/100 || n > s.burst*102/100+len(nodes) || other.Load() > 0 {
		t.Errorf("%d admitted of a burst of %d, %d answered otherwise", n, s.burst, other.Load())
	}
}

// withoutPostgres: what was called back stays so, what is called back now reaches all, and the asker is told that it is not
// written yet.
func withoutPostgres(t *testing.T, s *setting, p *pgtest.Server, nodes []*gateway) {
	nodes[0].must(t, "token", "revoke", "--id", "last")
	p.Kill(t)
	late := s.issuer.token("ann", "late")
	out, err := nodes[0].run("token", "revoke", "--id", "late")
	t.Logf("with PostgreSQL killed: %v %s", err, out)
	c := nodes[1].client()
	took := until(t, "what is called back without PostgreSQL reaches the other node", 3*time.Second, func() bool {
		return nodes[1].get(c, "/open/ping", late) == http.StatusUnauthorized
	})
	t.Log("reached the other node after", took)
	for _, id := range []string{"last", "two-3", "killed-2"} {
		if got := nodes[1].get(c, "/open/ping", s.issuer.token("ann", id)); got != http.StatusUnauthorized {
			t.Errorf("%s: %d without PostgreSQL", id, got)
		}
	}
	if got := nodes[1].get(c, "/open/ping", s.issuer.token("ann", "good")); got != http.StatusOK {
		t.Errorf("a good token is answered with %d without PostgreSQL", got)
	}
	says(t, out, "in force", "goes on trying", "gatehouse status")
	p.Restart(t)
	until(t, "the store can be written again", 20*time.Second, func() bool {
		return strings.Contains(nodes[0].must(t, "store", "status"), "it can be written")
	})
	for _, g := range nodes {
		g.stop(t)
	}
	again := startAll(t, []*home{nodes[0].home, nodes[1].home})
	for _, id := range []string{"last", "late", "two-3", "killed-2", "stream"} {
		if got := again[0].get(c, "/open/ping", s.issuer.token("ann", id)); got != http.StatusUnauthorized {
			t.Errorf("%s: %d after everything was started again", id, got)
		}
	}
}
