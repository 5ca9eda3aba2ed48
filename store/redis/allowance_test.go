package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/throttled/throttled/v2"

	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
)

// arithmetic is the counter script written once more, as plain arithmetic on an injected clock.
type arithmetic struct {
	mu   sync.Mutex
	now  func() time.Time
	at   map[string]time.Time
	asks int
	fail error
}

func (m *arithmetic) ask(_ context.Context, keys []string, questions []question) (answers []answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, q := range questions {
		answers = append(answers, m.one(keys[i], q))
	}
	return answers
}

func (m *arithmetic) one(key string, q question) answer {
	if m.asks++; m.fail != nil {
		return answer{err: m.fail}
	}
	now := m.now()
	at := m.at[key]
	if last := now.Add(2 * q.tolerance); at.After(last) {
		at = last
	}
	if floor := now.Add(min(q.floor, q.tolerance)); q.floor > 0 && at.Before(floor) {
		at = floor
	}
	if began := now.Add(-q.age); q.spent > 0 && at.Before(began) {
		at = began
	}
	if at = at.Add(time.Duration(q.spent) * q.interval); at.Before(now) {
		at = now
	}
	free, granted := int((q.tolerance-at.Sub(now))/q.interval), 0
	if free >= q.need && free > 0 {
		granted = min(q.want, free)
	}
	m.at[key] = at.Add(time.Duration(granted) * q.interval)
	return answer{granted: granted, ahead: m.at[key].Sub(now)}
}

// manual is a clock that tests move.
type manual struct{ ns atomic.Int64 }

func newManual() *manual {
	m := &manual{}
	m.ns.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return m
}

func (m *manual) now() time.Time          { return time.Unix(0, m.ns.Load()) }
func (m *manual) forward(d time.Duration) { m.ns.Add(int64(d)) }

// simulated gives n nodes that count over the same arithmetic.
func simulated(t testing.TB, n int, clock *manual) ([]*Counters, *arithmetic) {
	m := &arithmetic{now: clock.now, at: map[string]time.Time{}}
	var nodes []*Counters
	for range n {
		c := newCounters(1<<16, clock.now, m.ask, t.Context())
		c.circuit = newCircuit(t.Context(), "rates", clock.now, slog.New(slog.DiscardHandler), func(context.Context) error { return errors.New("not asked") })
		c.client = &Client{stopped: t.Context()}
		c.others.Store(int64(n))
		c.patient = 5 * time.Second // whatever else runs on this machine
		nodes = append(nodes, c)
	}
	return nodes, m
}

// settleAll does what happens in the background.
func settleAll(nodes []*Counters) {
	for _, n := range nodes {
		n.settle()
	}
}

func take(t testing.TB, l throttled.RateLimiterCtx, key string, cost int) bool {
	t.Helper()
	limited, _, err := l.RateLimitCtx(t.Context(), key, cost)
	if err != nil {
		t.Error(err)
	}
	return !limited
}

// The bound of the error: whatever comes to whichever of three nodes, they admit within 2 % of what one node would.
func TestThreeNodesAdmitWhatOneAdmits(t *testing.T) {
	t.Parallel()
	worst, asks, requests := 0.0, 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		count, burst := 1+r.IntN(800), 1+int(math.Pow(10, 3.5*r.Float64()))
		clock := newManual()
		nodes, m := simulated(t, 3, clock)
		var shared []throttled.RateLimiterCtx
		for _, n := range nodes {
			l, err := n.Limiter(count, time.Second, burst)
			if err != nil {
				t.Fatal(err)
			}
			shared = append(shared, l)
		}
		one, err := throttled.NewGCRARateLimiterCtx(memory.NewCounters(1000, clock.now), throttled.RateQuota{MaxRate: throttled.PerDuration(count, time.Second), MaxBurst: burst - 1})
		if err != nil {
			t.Fatal(err)
		}
		admitted, want := 0, 0
		rates := [3]float64{}
		for step := range 5000 { // of a millisecond
			if step%250 == 0 {
				for i := range rates {
					rates[i] = r.Float64() * r.Float64() * 4 * float64(count) / 1000
					if r.IntN(4) == 0 {
						rates[i] = 0
					}
					if r.IntN(8) == 0 {
						rates[i] = float64(burst) / 50
					}
				}
			}
			clock.forward(time.Millisecond)
			if step%20 == 0 {
				settleAll(nodes)
			}
			for i, l := range shared {
				n := int(rates[i])
				if r.Float64() < rates[i]-float64(n) {
					n++
				}
				for range n {
					requests++
					if take(t, l, "k", 1) {
						admitted++
					}
					if take(t, one, "k", 1) {
						want++
					}
				}
			}
		}
		asks += m.asks
		off := math.Abs(float64(admitted-want)) / float64(max(1, want))
		worst = max(worst, off)
		if math.Abs(float64(admitted-want)) > max(0.02*float64(want), 1) {
			t.Errorf("seed %d: %d/s burst %d: three nodes admitted %d, one %d: %.1f %%", seed, count, burst, admitted, want, 100*off)
		}
	}
	t.Logf("worst %.2f %%; %d questions for %d requests", 100*worst, asks, requests)
}

// The script and the arithmetic are one function.
func TestTheScriptIsTheArithmetic(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Config: plain(redistest.Start(t, redistest.Options{}).Address)})
	conn, err := c.use()
	if err != nil {
		t.Fatal(err)
	}
	clock := newManual()
	m := &arithmetic{now: clock.now, at: map[string]time.Time{}}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		key := fmt.Sprint("k", seed)
		q := question{interval: time.Duration(1+r.IntN(50_000)) * time.Microsecond}
		q.tolerance = q.interval * time.Duration(1+r.IntN(300))
		for range 60 {
			clock.forward(time.Duration(r.IntN(20)) * q.interval / 3 / time.Microsecond * time.Microsecond)
			q.need, q.spent, q.floor, q.age = r.IntN(4), r.IntN(9)-3, 0, time.Duration(r.IntN(30))*time.Millisecond
			q.want = q.need + r.IntN(20)
			if r.IntN(10) == 0 {
				q.floor = q.interval * time.Duration(r.IntN(400))
			}
			want := m.one(key, q)
			now := fmt.Sprint((clock.ns.Load() - 1_700_000_000_000_000_000) / 1000)
			got := read(conn.Do(t.Context(), conn.B().Eval().Script(counting).Numkeys(1).Key(c.names.counter(key)).Arg(argumentsOf([]question{q}, []int{0}, now)...).Build()), 1)[0]
			if got.err != nil || got.granted != want.granted || (got.ahead-want.ahead).Abs() > 2*time.Microsecond {
				t.Fatalf("%+v: %+v; want %+v", q, got, want)
			}
		}
	}
}

// Three nodes over a real server, asked by many at once.
func TestThreeNodesOverAServer(t *testing.T) {
	cfg := plain(redistest.Start(t, redistest.Options{}).Address)
	var shared []throttled.RateLimiterCtx
	for i := range 3 {
		n := open(t, Options{Config: cfg, Node: fmt.Sprint(i)}).NewCounters(1000, time.Now)
		n.patient = 5 * time.Second // whatever else runs on this machine
		l, err := n.Limiter(500, time.Second, 1000)
		if err != nil {
			t.Fatal(err)
		}
		shared = append(shared, l)
	}
	var admitted atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range 12 {
		all.Go(func() {
			for time.Since(began) < 2*time.Second {
				if take(t, shared[i%3], "address 192.0.2.1", 1) {
					admitted.Add(1)
				} else {
					time.Sleep(200 * time.Microsecond)
				}
			}
		})
	}
	all.Wait()
	want := 1000 + 500*time.Since(began).Seconds()
	if off := (float64(admitted.Load()) - want) / want; math.Abs(off) > 0.02 {
		t.Errorf("three nodes admitted %d, one admits %.0f: %+.1f %%", admitted.Load(), want, 100*off)
	} else {
		t.Logf("%d admitted, want %.0f: %+.2f %%", admitted.Load(), want, 100*off)
	}
}

// The worst that can come: one node takes all there is, and the others spend their allowances before they hear of it; or all
// three do so at once, again and again when the counter is full.
func TestTheWorstThatLeasesDo(t *testing.T) {
	t.Parallel()
	for _, quota := range []struct{ count, burst int }{{1, 6000}, {100_000, 3000}, {1000, 3000}, {50, 200}, {20, 100}, {20, 99}, {1, 5}} {
		for _, turns := range [][]int{{0, 1, 2}, {2, 1, 0}, {0, 0, 1, 2, 2}} {
			clock := newManual()
			nodes, _ := simulated(t, 3, clock)
			var shared []throttled.RateLimiterCtx
			for _, n := range nodes {
				l, _ := n.Limiter(quota.count, time.Second, quota.burst)
				shared = append(shared, l)
			}
			one, _ := throttled.NewGCRARateLimiterCtx(memory.NewCounters(1000, clock.now), throttled.RateQuota{MaxRate: throttled.PerDuration(quota.count, time.Second), MaxBurst: quota.burst - 1})
			admitted, want := 0, 0
			for range 3 {
				for _, i := range turns {
					for range 2 * quota.burst {
						if take(t, shared[i], "k", 1) {
							admitted++
						}
						if take(t, one, "k", 1) {
							want++
						}
					}
				}
				for range 3 {
					clock.forward(settling)
					settleAll(nodes)
				}
				clock.forward(time.Duration(quota.burst)*time.Second/time.Duration(quota.count) + time.Second)
			}
			bound := 0.02 * float64(want)
			if quota.burst >= allowanceFrom && quota.burst < allowanceNodes*allowancePart {
				bound = 3 * allowanceNodes
			}
			if off := math.Abs(float64(admitted - want)); off > bound {
				t.Errorf("%+v, turns %v: three nodes admitted %d, one %d: %+.1f %%", quota, turns, admitted, want, 100*float64(admitted-want)/float64(want))
			}
		}
	}
}

// What a request costs is taken whole or not at all, and a look takes nothing.
func TestCostsAndLooks(t *testing.T) {
	t.Parallel()
	clock := newManual()
	nodes, _ := simulated(t, 2, clock)
	a, _ := nodes[0].Limiter(1, time.Second, 20)
	b, _ := nodes[1].Limiter(1, time.Second, 20)
	for range 5 {
		if _, r, _ := a.RateLimitCtx(t.Context(), "k", 0); r.Remaining != 20 || r.RetryAfter != -1 {
			t.Fatalf("a look took something: %+v", r)
		}
	}
	if !take(t, a, "k", 9) || !take(t, b, "k", 9) || take(t, a, "k", 9) || take(t, b, "k", 21) {
		t.Fatal("two nines fit into twenty, a third does not, and 21 never do")
	}
	if !take(t, b, "k", 2) || take(t, a, "k", 1) {
		t.Fatal("two were left")
	}
	clock.forward(100 * time.Millisecond)
	_, r, _ := a.RateLimitCtx(t.Context(), "k", 0)
	if r.Remaining != 0 || r.RetryAfter != 900*time.Millisecond || r.ResetAfter != 19900*time.Millisecond {
		t.Fatalf("%+v", r)
	}
	clock.forward(3 * time.Second)
	if _, r, _ = b.RateLimitCtx(t.Context(), "k", 1); r.Remaining != 2 || r.RetryAfter != -1 || r.Limit != 20 {
		t.Fatalf("%+v", r)
	}
}

// Without the server three nodes together admit what one does, from the first moment on; and afterwards nothing is forgotten.
func TestAloneEachNodeCountsItsShare(t *testing.T) {
	t.Parallel()
	for _, quota := range []struct{ count, burst int }{{50, 200}, {20, 100}, {600, 3000}, {10, 5}, {1, 1}} {
		clock := newManual()
		nodes, m := simulated(t, 3, clock)
		var shared []throttled.RateLimiterCtx
		for _, n := range nodes {
			l, _ := n.Limiter(quota.count, time.Second, quota.burst)
			shared = append(shared, l)
		}
		count := func(steps int) (admitted int) {
			for range steps {
				clock.forward(10 * time.Millisecond)
				for _, l := range shared {
					for range 1 + quota.count/20 {
						if take(t, l, "k", 1) {
							admitted++
						}
					}
				}
			}
			return admitted
		}
		before := count(300)
		m.mu.Lock()
		m.fail = errors.New("away")
		m.mu.Unlock()
		during := count(1000)
		most, least := float64(quota.count*10)*1.05+6, float64(quota.count*10)*0.9-6
		if float64(during) > most || float64(during) < least {
			t.Errorf("%+v: %d admitted in ten seconds alone, want about %d (%d in three before)", quota, during, quota.count*10, before)
		}
		m.mu.Lock()
		m.fail, m.at = nil, map[string]time.Time{} // a server that has forgotten everything
		m.mu.Unlock()
		for _, n := range nodes {
			n.circuit.open.Store(false)
		}
		if after := count(100); float64(after) > float64(quota.count)*1.2+4 {
			t.Errorf("%+v: %d admitted in the second after, want about %d", quota, after, quota.count)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	l, err := throttled.NewGCRARateLimiterCtx(memory.NewCounters(1<<20, time.Now), throttled.RateQuota{MaxRate: throttled.PerDuration(100_000_000, time.Second), MaxBurst: 99_999_999})
	if err != nil {
		b.Fatal(err)
	}
	spend(b, l, 1)
}

func BenchmarkLease(b *testing.B)         { spend(b, overServer(b, 100_000_000, 100_000_000), 1) }
func BenchmarkLeaseManyKeys(b *testing.B) { spend(b, overServer(b, 100_000_000, 100_000_000), 1000) }
func BenchmarkAskEachTime(b *testing.B)   { spend(b, overServer(b, 1_000_000, 100), 1) }

func overServer(b *testing.B, count, burst int) throttled.RateLimiterCtx {
	c := open(b, Options{Config: plain(redistest.Start(b, redistest.Options{}).Address), Nodes: func() int { return 3 }}).NewCounters(1<<20, time.Now)
	l, err := c.Limiter(count, time.Second, burst)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func spend(b *testing.B, l throttled.RateLimiterCtx, keys int) {
	names := make([]string, keys)
	for i := range names {
		names[i] = strings.Repeat("k", 30) + fmt.Sprint(i)
	}
	b.ReportAllocs()
	i, before := 0, used(b)
	for b.Loop() {
		if _, _, err := l.RateLimitCtx(b.Context(), names[i%keys], 1); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(used(b)-before)/float64(b.N), "cpu-ns/op")
}

// used is the time that this process has computed.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Nodes that lose the server by turns, each for a fifth of a second: what they admit alone is told afterwards, so that over the
// whole time they admit hardly more than one node, whatever comes.
func TestWhatIsAdmittedAloneIsCounted(t *testing.T) {
	t.Parallel()
	for _, quota := range []struct{ count, burst int }{{50, 200}, {20, 100}, {600, 3000}, {10, 10}} {
		clock := newManual()
		nodes, _ := simulated(t, 3, clock)
		var shared []throttled.RateLimiterCtx
		for _, n := range nodes {
			l, _ := n.Limiter(quota.count, time.Second, quota.burst)
			shared = append(shared, l)
		}
		admitted := 0
		for step := range 3000 { // of ten milliseconds
			clock.forward(10 * time.Millisecond)
			for i, n := range nodes {
				n.circuit.open.Store(step/20%4 == i)
				if step%2 == 0 && !n.circuit.open.Load() {
					n.settle()
				}
			}
			for _, l := range shared {
				for range 2 + quota.count/30 {
					if take(t, l, "k", 1) {
						admitted++
					}
				}
			}
		}
		want := float64(quota.burst + 30*quota.count)
		if off := float64(admitted)/want - 1; off > 0.05 || off < -0.25 {
			t.Errorf("%+v: %d admitted in 30 s, want about %.0f: %+.1f %%", quota, admitted, want, 100*off)
		} else {
			t.Logf("%+v: %+.1f %%", quota, 100*off)
		}
	}
}
