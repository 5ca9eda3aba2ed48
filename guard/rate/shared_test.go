package rate_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/store/redis"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
)

// sharing gives the counters of n nodes over one server.
func sharing(t testing.TB, s *redistest.Server, n int) (nodes []*redis.Counters) {
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

// BenchmarkNodes is what both guards cost a request: in memory, and on one of three nodes that share, with the time that
// the server computes beside it. Busy is one address and one caller with a large limit, many are a thousand of each with
// the default limits, of which each comes seldom.
func BenchmarkNodes(b *testing.B) {
	for _, c := range []struct {
		name    string
		callers int
		cfg     rate.Config
	}{
		{"busy", 1, rate.Config{PerAddress: rate.Quota{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}, PerCaller: rate.Quota{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}}},
		{"many", 1000, rate.Config{}},
	} {
		b.Run(c.name+"/memory", func(b *testing.B) {
			shop(b, nil, c.cfg, c.callers, []rate.Counters{memory.NewCounters(1<<20, time.Now)})
		})
		b.Run(c.name+"/shared", func(b *testing.B) {
			s := redistest.Start(b, redistest.Options{})
			var nodes []rate.Counters
			for _, n := range sharing(b, s, 3) {
				nodes = append(nodes, n)
			}
			shop(b, s, c.cfg, c.callers, nodes)
		})
	}
}

func shop(b *testing.B, s *redistest.Server, cfg rate.Config, callers int, nodes []rate.Counters) {
	var arrivals []*rate.Arrivals
	var known []*rate.Callers
	for _, n := range nodes {
		a, err := rate.NewArrivals(cfg, n, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		k, err := rate.NewCallers(cfg, nil, n, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		arrivals, known = append(arrivals, a), append(known, k)
	}
	var requests []*gate.Exchange
	for i := range callers {
		x := from(fmt.Sprintf("192.0.%d.%d", i/250, i%250))
		x.Request.Fields.Set("Authorization", "Bearer x")
		x.Identify(gate.Principal{Issuer: "a", Subject: fmt.Sprint(i)})
		requests = append(requests, x)
	}
	before, server := computed(b), serverComputed(b, s)
	i := 0
	for b.Loop() {
		x, n := requests[i%callers], i%len(nodes)
		if arrivals[n].Check(b.Context(), x).Allowed() {
			known[n].Check(b.Context(), x)
		}
		i++
	}
	b.ReportMetric(float64(computed(b)-before)/float64(b.N), "cpu-ns/op")
	if s != nil {
		b.ReportMetric(float64(serverComputed(b, s)-server)/float64(b.N), "redis-cpu-ns/op")
	}
}

// computed is how long this process has computed.
func computed(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverComputed is how long the server has.
func serverComputed(b *testing.B, s *redistest.Server) (d time.Duration) {
	if s == nil {
		return 0
	}
	for line := range strings.Lines(s.Do(b, "info", "cpu")) {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if text, ok := strings.CutPrefix(line, name); ok {
				seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
				if err != nil {
					b.Fatal(err)
				}
				d += time.Duration(seconds * float64(time.Second))
			}
		}
	}
	return d
}
