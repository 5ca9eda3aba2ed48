package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/throttled/throttled/v2"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
)

// between puts a faulty network before a server.
func between(t *testing.T, address string) *toxiproxy.Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := toxiproxy.NewProxy(server, t.Name(), fmt.Sprintf("127.0.0.1:%d", loopback.Port()), address)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func toxic(t *testing.T, p *toxiproxy.Proxy, kind, attributes string) {
	t.Helper()
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(`{"type":"` + kind + `","stream":"downstream","attributes":{` + attributes + `}}`)); err != nil {
		t.Fatal(err)
	}
}

func limit(t testing.TB, c *Counters, count, burst int) throttled.RateLimiterCtx {
	t.Helper()
	l, err := c.Limiter(count, time.Second, burst)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// steadily calls for a time and gives what was admitted, and the longest and the whole wait.
func steadily(t *testing.T, l throttled.RateLimiterCtx, d time.Duration) (admitted, calls int, longest, whole time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		began := time.Now()
		if calls++; take(t, l, "k", 1) {
			admitted++
		}
		took := time.Since(began)
		longest, whole = max(longest, took), whole+took
	}
	return admitted, calls, longest, whole
}

// slack is what a busy machine adds to a bound.
const slack = 500 * time.Millisecond

// I7, rates: a server that is slow, silent, or breaks connections costs one short wait, then none; this node counts its
// share, says so, and shares again once the server is well.
func TestRatesOverABadNetwork(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*testing.T, *toxiproxy.Proxy){
		"slow":   func(t *testing.T, p *toxiproxy.Proxy) { toxic(t, p, "latency", `"latency":150`) },
		"silent": func(t *testing.T, p *toxiproxy.Proxy) { toxic(t, p, "timeout", `"timeout":0`) },
		"resets": func(t *testing.T, p *toxiproxy.Proxy) { toxic(t, p, "reset_peer", `"timeout":0`) },
		"gone":   func(t *testing.T, p *toxiproxy.Proxy) { p.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := between(t, redistest.Start(t, redistest.Options{}).Address)
			c := open(t, Options{Config: hurried(p.Listen), Nodes: func() int { return 4 }}).NewCounters(1000, time.Now)
			l := limit(t, c, 40, 40)
			if since, _ := c.Degraded(); !take(t, l, "k", 1) || !since.IsZero() {
				t.Fatal("not well at first")
			}
			fault(t, p)
			began := time.Now()
			admitted, calls, longest, whole := steadily(t, l, time.Second)
			most := 10 + 10*time.Since(began).Seconds() + 2
			if admitted < min(12, calls/2) || float64(admitted) > most {
				t.Errorf("one of four nodes admitted %d in a second without the server, want about 20", admitted)
			}
			if longest > patient+slack || whole > 8*patient+slack {
				t.Errorf("requests waited %v at most and %v together", longest, whole)
			}
			if since, why := c.Degraded(); since.IsZero() || !errors.Is(why, store.ErrUnavailable) {
				t.Errorf("degraded since %v: %v", since, why)
			}
			if name == "gone" {
				if err := p.Start(); err != nil {
					t.Fatal(err)
				}
			}
			p.Toxics.ResetToxics(context.Background())
			eventually(t, "sharing again", func() bool { since, _ := c.Degraded(); return since.IsZero() })
		})
	}
}

// A server that comes and goes all the time is asked less and less often.
func TestFlapping(t *testing.T) {
	t.Parallel()
	p := between(t, redistest.Start(t, redistest.Options{}).Address)
	c := open(t, Options{Config: hurried(p.Listen), Nodes: func() int { return 2 }}).NewCounters(1000, time.Now)
	l := limit(t, c, 100, 50)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(40+i%3*40) * time.Millisecond):
			}
			if i%2 == 0 {
				p.Stop()
			} else if err := p.Start(); err != nil {
				return
			}
		}
	}()
	began := time.Now()
	admitted, calls, longest, whole := steadily(t, l, 2*time.Second)
	close(stop)
	<-stopped
	took := time.Since(began).Seconds()
	if float64(admitted) > 50+100*took*1.1+5 || float64(admitted) < min(25+50*took*0.7, float64(calls)/2) {
		t.Errorf("%d admitted in %.1f s; alone it would be %.0f, with the server %.0f", admitted, took, 25+50*took, 50+100*took)
	}
	if longest > patient+slack || whole > time.Second {
		t.Errorf("requests waited %v at most and %v together in two seconds", longest, whole)
	}
}

// I7, records and feeds: an error in bounded time, at once while the server is known to be away, and well again by itself.
func TestRecordsAndFeedsOverABadNetwork(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"timeout", "reset_peer"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := between(t, redistest.Start(t, redistest.Options{}).Address)
			c := open(t, Options{Config: hurried(p.Listen)})
			records, feed := c.Records(), c.Feed()
			var err error
			for range 20 { // a busy machine may be late at first
				if _, err = records.Write(t.Context(), store.Write{Key: "a/b", Value: []byte("x"), Version: store.Any}); err == nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, _, err := feed.Read(context.Background(), "t", "")
				ended <- err
			}()
			time.Sleep(50 * time.Millisecond)
			toxic(t, p, kind, `"timeout":0`)
			began := time.Now()
			for range often {
				if _, err := records.Get(t.Context(), "a/b"); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("get: %v", err)
				}
			}
			if took := time.Since(began); took > often*500*time.Millisecond+slack {
				t.Errorf("gets took %v", took)
			}
			began = time.Now()
			if _, err := records.Write(t.Context(), store.Write{Key: "a/c", Value: []byte("x")}); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("write: %v", err)
			}
			if err := feed.Publish(t.Context(), "t", []byte("x")); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("publish: %v", err)
			}
			if took := time.Since(began); took > slack {
				t.Errorf("calls took %v while the server was known to be away", took)
			}
			if since, why := c.State(); since.IsZero() || why == nil {
				t.Error("the client does not know that it is without the server")
			}
			select {
			case err := <-ended:
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("read feed: %v", err)
				}
			case <-time.After(nap + 500*time.Millisecond + 4*slack):
				t.Error("read feed has not ended")
			}
			p.Toxics.ResetToxics(context.Background())
			eventually(t, "records again", func() bool { r, err := records.Get(t.Context(), "a/b"); return err == nil && r.Version == 1 })
		})
	}
}

// Without a server the gateway starts all the same, also when something accepts connections and says nothing; what it
// counts, it counts alone; and it finds the server once that is there.
func TestAwayAtStart(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t, redistest.Options{})
		s.Kill()
		c := away(t, hurried(s.Address))
		n := c.NewCounters(100, time.Now)
		if l := limit(t, n, 10, 10); !take(t, l, "k", 10) || take(t, l, "k", 1) {
			t.Error("alone it should be ten")
		}
		s.Restart(t)
		eventually(t, "records", func() bool { _, err := c.Records().Get(t.Context(), "a"); return errors.Is(err, store.ErrNone) })
		eventually(t, "rates", func() bool { since, _ := n.Degraded(); return since.IsZero() })
	})
	t.Run("nobody answers", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		away(t, hurried(l.Addr().String()))
	})
}

func away(t *testing.T, cfg store.SharedConfig) *Client {
	t.Helper()
	began := time.Now()
	c := open(t, Options{Config: cfg})
	if took := time.Since(began); took > patience+4*slack {
		t.Errorf("start-up waited %v", took)
	}
	began = time.Now()
	if _, err := c.Records().Get(t.Context(), "a"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if _, _, err := c.Feed().Read(t.Context(), "t", ""); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read feed: %v", err)
	}
	if since, why := c.State(); since.IsZero() || why == nil {
		t.Error("the client thinks that it is connected")
	}
	if took := time.Since(began); took > slack {
		t.Errorf("calls took %v", took)
	}
	return c
}

// A server that stands still (not dead: connections stay open) and goes on.
func TestAServerThatStandsStill(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{})
	c := open(t, Options{Config: hurried(s.Address), Nodes: func() int { return 2 }})
	n := c.NewCounters(100, time.Now)
	l := limit(t, n, 10, 10)
	take(t, l, "k", 1)
	s.Pause()
	defer s.Resume()
	if _, _, longest, _ := steadily(t, l, 500*time.Millisecond); longest > patient+slack {
		t.Errorf("a request waited %v", longest)
	}
	if _, err := c.Records().Get(t.Context(), "a"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	s.Resume()
	eventually(t, "rates", func() bool { since, _ := n.Degraded(); return since.IsZero() })
	eventually(t, "records", func() bool { _, err := c.Records().Get(t.Context(), "a"); return errors.Is(err, store.ErrNone) })
}

// Sentinel replaces a master that is gone: what had reached the replica is there, and all uses go on.
func TestFailover(t *testing.T) {
	t.Parallel()
	w := redistest.Sentinel(t, 3, redistest.Passwords{Servers: "servers-password", Sentinels: "sentinels-password"})
	admit(t, "+role >servers-password", w.Master, w.Replica)
	cfg := hurried("")
	cfg.URL, cfg.Sentinel = "redis://gatehouse@", store.Sentinel{Master: w.Name, Addresses: w.Addresses(), Password: ref(t, "env:SENTINELS")}
	cfg.Password = ref(t, "env:SERVERS")
	c := open(t, Options{Config: cfg, Resolve: func(r secret.Ref) (secret.Value, error) {
		name, _ := strings.CutPrefix(r.String(), "env:")
		return secret.New([]byte(strings.ToLower(name)+"-password"), "a test")
	}})
	records, n := c.Records(), c.NewCounters(100, time.Now)
	if _, err := records.Write(t.Context(), store.Write{Key: "a/b", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica has it", func() bool {
		return strings.Contains(w.Replica.Do(t, "keys", "*"), "gatehouse:record:a:")
	})
	w.Master.Kill()
	began := time.Now()
	l := limit(t, n, 10, 10)
	if _, _, longest, _ := steadily(t, l, 200*time.Millisecond); longest > patient+slack {
		t.Errorf("a request waited %v", longest)
	}
	eventually(t, "records by the new master", func() bool {
		_, err := records.Write(t.Context(), store.Write{Key: "a/b", Value: []byte("y"), Version: 1})
		return err == nil || errors.Is(err, store.ErrConflict)
	})
	t.Logf("%v without a master", time.Since(began).Round(time.Millisecond))
	eventually(t, "rates", func() bool { since, _ := n.Degraded(); return since.IsZero() })
	at, position := make(chan string, 1), ""
	go func() {
		_, next, _ := c.Feed().Read(t.Context(), "t", "")
		at <- next
	}()
	for position == "" {
		if err := c.Feed().Publish(t.Context(), "t", []byte("bell")); err != nil {
			t.Fatal(err)
		}
		select {
		case position = <-at:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Of a Cluster one master is gone, and comes back.
func TestAClusterLosesAMaster(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t)
	cfg := hurried("")
	cfg.URL, cfg.Cluster = "redis://", redistest.Addresses(servers)
	c := open(t, Options{Config: cfg, Nodes: func() int { return 2 }})
	l := limit(t, c.NewCounters(1000, time.Now), 10, 10)
	for i := range 20 { // of which some lie there
		if _, err := c.Records().Write(t.Context(), store.Write{Key: fmt.Sprint("a/", i), Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	servers[1].Kill()
	began, failed := time.Now(), 0
	for i := range 20 {
		if _, err := c.Records().Get(t.Context(), fmt.Sprint("a/", i)); errors.Is(err, store.ErrUnavailable) {
			failed++
		} else if err != nil {
			t.Error(err)
		}
		take(t, l, fmt.Sprint(i), 1)
	}
	if took := time.Since(began); failed == 0 || took > 5*time.Second {
		t.Errorf("%d of 20 reads failed within %v", failed, took)
	}
	servers[1].Restart(t)
	eventually(t, "all slots", func() bool {
		for i := range 20 {
			if _, err := c.Records().Get(t.Context(), fmt.Sprint("a/", i)); err != nil && !errors.Is(err, store.ErrNone) {
				return false
			}
		}
		return true
	})
}
