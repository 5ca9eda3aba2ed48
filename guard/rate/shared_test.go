package rate_test

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/redis"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
)

// sharing gives the counters of n nodes over one server.
func sharing(t *testing.T, s *redistest.Server, n int) (nodes []*redis.Counters) {
	t.Helper()
	for range n {
		c, err := redis.Open(context.Background(), redis.Options{
			Config: store.SharedConfig{URL: "redis://" + s.Address, Insecure: gate.Risk{AcceptRisk: "a test"}},
			Nodes:  func() int { return n }, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		nodes = append(nodes, c.NewCounters(10_000, time.Now))
	}
	return nodes
}

// What comes to three nodes counts together; so does a refused credential, ten times, and a guesser finds every node closed.
func TestNodesCountTogether(t *testing.T) {
	nodes := sharing(t, redistest.Start(t, redistest.Options{}), 3)
	var guards []*rate.Arrivals
	for _, n := range nodes {
		g, err := rate.NewArrivals(rate.Config{PerAddress: quota(t, "60/h burst 60")}, n, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		guards = append(guards, g)
	}
	passed := 0
	for i := range 120 {
		if v := guards[i%3].Check(t.Context(), from("192.0.2.1")); v.Allowed() {
			passed++
		} else if v.Reason != rate.ReasonAddress || v.Header.Get("Retry-After") == "" {
			t.Fatalf("%+v", v)
		}
	}
	if passed < 59 || passed > 61 {
		t.Errorf("three nodes admitted %d, want 60", passed)
	}
	guesses := 0
	for i := range 60 {
		x := from("192.0.2.2")
		x.Request.Fields.Set("Authorization", "Bearer guess")
		if guards[i%3].Check(t.Context(), x).Allowed() {
			guesses++
			guards[i%3].Settle(x, gate.Outcome{Verdict: gate.Deny(gate.NoIdentity, "identity.signature", "")})
		}
	}
	if guesses < 5 || guesses > 8 {
		t.Errorf("%d guesses passed at three nodes, want about 6, as at one", guesses)
	}
}

// I7: a server that is gone neither blocks nor opens: at once each of three nodes keeps to a third, and says so.
func TestTheServerOfTheCountersIsGone(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	nodes := sharing(t, s, 3)
	g, err := rate.NewArrivals(rate.Config{PerAddress: quota(t, "60/h burst 60")}, nodes[0], time.Now)
	if err != nil {
		t.Fatal(err)
	}
	g.Check(t.Context(), from("192.0.2.9"))
	s.Kill()
	passed, slowest := 0, time.Duration(0)
	for i := range 100 {
		x := &gate.Exchange{Source: gate.Source{Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 2)})}}
		began := time.Now()
		if g.Check(t.Context(), x).Allowed() {
			passed++
		}
		slowest = max(slowest, time.Since(began))
	}
	if passed != 40 {
		t.Errorf("%d requests of two addresses passed at one of three nodes, want 40", passed)
	}
	if slowest > 200*time.Millisecond {
		t.Errorf("a request waited %v for a server that is gone", slowest)
	}
	if since, why := nodes[0].Degraded(); since.IsZero() || why == nil {
		t.Error("the node does not know that it counts alone")
	}
}
