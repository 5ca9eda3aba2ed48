package upstream

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// result counts what became of a load.
type result struct {
	sent, lost atomic.Int64
	mu         sync.Mutex
	errors     map[string]int
}

// load sends requests from 16 goroutines for a while, on a busy machine at least 10 each, and calls faults meanwhile.
func load(t *testing.T, p *Pool, method string, length time.Duration, faults func()) *result {
	t.Helper()
	out := &result{errors: map[string]int{}}
	var wait sync.WaitGroup
	end := time.Now().Add(length)
	for worker := range 16 {
		wait.Go(func() {
			for n := 0; n < 10 || time.Now().Before(end); n++ {
				id := fmt.Sprintf("%s-%d-%d", method, worker, n)
				var body any
				if method != "GET" {
					body = id
				}
				r := request(t, method, "/", body)
				r.Header.Set("X-Id", id)
				r.Header.Set("Idempotency-Key", id) // http.Transport would take this as leave to repeat
				status, answer, _, err := send(p, r, Call{Idempotent: method != "POST"})
				out.sent.Add(1)
				if err != nil || status != 200 || answer != id {
					out.lost.Add(1)
					out.mu.Lock()
					out.errors[fmt.Sprintf("%d %s", status, reasonOf(err))]++
					out.mu.Unlock()
				}
				time.Sleep(500 * time.Microsecond)
			}
		})
	}
	time.Sleep(length / 5)
	faults()
	wait.Wait()
	return out
}

// One server lives, the two others do their worst one after the other (H13, H15).
func TestIdempotentRequestsLoseNoneWhileOneServerLives(t *testing.T) {
	for _, c := range []struct{ balance, method, protocol string }{
		{"power_of_two", "GET", "http1"}, {"round_robin", "PUT", "http1"}, {"power_of_two", "PUT", "h2c"},
	} {
		for _, mode := range []string{"killed", "restarted", "hung", "slow", "503", "reset", "reset in head"} {
			if c.protocol == "h2c" && strings.HasPrefix(mode, "reset") {
				continue // the faulty server says these in HTTP/1.1
			}
			t.Run(c.balance+"/"+c.method+"/"+c.protocol+"/"+mode, func(t *testing.T) {
				t.Parallel()
				a, b, lives := newFaulty(t), newFaulty(t), newFaulty(t)
				cfg := calm()
				cfg.Balance, cfg.Protocol, cfg.Timeouts.FirstByte = c.balance, c.protocol, time.Second
				p := pool(t, cfg, Deps{}, a.url(), b.url(), lives.url())
				got := load(t, p, c.method, 350*time.Millisecond, func() {
					for _, f := range []*faulty{a, b} {
						fail(t, f, mode)
						time.Sleep(100 * time.Millisecond)
					}
				})
				if got.lost.Load() > 0 {
					t.Errorf("lost %d of %d: %v; %+v", got.lost.Load(), got.sent.Load(), got.errors, p.State())
				}
				reached := a.count.Load() + b.count.Load() + lives.count.Load()
				if most := got.sent.Load()*110/100 + 50; reached > most {
					t.Errorf("%d requests became %d at the servers, more than %d (H15)", got.sent.Load(), reached, most)
				}
			})
		}
	}
}

func fail(t *testing.T, f *faulty, mode string) {
	switch mode {
	case "killed":
		f.kill()
	case "restarted":
		f.kill()
		time.Sleep(30 * time.Millisecond)
		f.restart(t)
	default:
		f.mode.Store(mode)
	}
}

// A POST is never sent twice, whatever the servers do, though it could be: its body is in memory.
func TestPostIsNeverSentTwice(t *testing.T) {
	for _, mode := range []string{"killed", "restarted", "hung", "slow", "503", "reset", "reset in head", "reset after head", "garbage", "killed h2c", "restarted h2c"} {
		mode, h2c := strings.CutSuffix(mode, " h2c")
		t.Run(fmt.Sprintf("%s/h2c=%v", mode, h2c), func(t *testing.T) {
			t.Parallel()
			a, b, c := newFaulty(t), newFaulty(t), newFaulty(t)
			cfg := calm()
			cfg.Timeouts.FirstByte = time.Second
			if h2c {
				cfg.Protocol = "h2c"
			}
			p := pool(t, cfg, Deps{}, a.url(), b.url(), c.url())
			got := load(t, p, "POST", 350*time.Millisecond, func() {
				fail(t, a, mode)
				time.Sleep(100 * time.Millisecond)
				fail(t, b, mode)
			})
			if again := twice(a, b, c); len(again) > 0 {
				t.Errorf("sent more than once: %v", again)
			}
			if got.sent.Load() < 50 || got.lost.Load() > got.sent.Load()/2 {
				t.Errorf("lost %d of %d: %v", got.lost.Load(), got.sent.Load(), got.errors)
			}
		})
	}
}

// H15: when every server says 503, retries stay within the budget and the answer is the servers'.
func TestRetryStorm(t *testing.T) {
	for _, mode := range []string{"503", "reset", "reset in head", "hung"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			a, b, c := newFaulty(t), newFaulty(t), newFaulty(t)
			cfg := calm()
			cfg.Retry.Burst = 10
			cfg.Breaker.MinRequests = 1 << 30 // the breaker would end the storm by itself
			if mode == "hung" {
				cfg.Timeouts.FirstByte = 20 * time.Millisecond
			}
			p := pool(t, cfg, Deps{}, a.url(), b.url(), c.url())
			for _, f := range []*faulty{a, b, c} {
				f.mode.Store(mode)
			}
			got := load(t, p, "GET", 350*time.Millisecond, func() {})
			reached := a.count.Load() + b.count.Load() + c.count.Load()
			if most := got.sent.Load()*110/100 + 10 + 1; reached > most || reached < got.sent.Load() {
				t.Errorf("%d requests became %d at the servers, more than %d", got.sent.Load(), reached, most)
			}
			if reached == got.sent.Load() {
				t.Error("nothing was retried at all: the test cannot fail")
			}
			if mode == "503" && got.errors["503 "] != int(got.sent.Load()) {
				t.Errorf("the servers' answer was not handed up: %v", got.errors)
			}
		})
	}
}

// A broken body is an error to whoever reads it, and is never asked for again.
func TestBrokenBodyIsNeverRetried(t *testing.T) {
	for _, mode := range []string{"reset after head", "reset in chunk"} {
		t.Run(mode, func(t *testing.T) {
			a, b := newFaulty(t), newFaulty(t)
			p := pool(t, calm(), Deps{}, a.url(), b.url())
			a.mode.Store(mode)
			b.mode.Store(mode)
			for i := range 20 {
				r := get(t, "/")
				r.Header.Set("X-Id", fmt.Sprint(i))
				status, body, report, err := send(p, r, idempotent)
				if status == 503 || reasonOf(err) == ReasonBreakerOpen {
					break
				}
				if body != "abc" || reasonOf(err) != ReasonReset || report.Attempts != 1 {
					t.Fatalf("status %d, body %q, attempts %d, error %v", status, body, report.Attempts, err)
				}
			}
			if again := twice(a, b); len(again) > 0 {
				t.Errorf("asked for again: %v", again)
			}
			s := p.State()
			if s[0].Failures+s[1].Failures == 0 {
				t.Error("broken bodies were not counted against the servers")
			}
		})
	}
}

// A kept connection that the server has ended meanwhile costs nobody an error, nor a POST its only sending.
func TestHalfDeadConnections(t *testing.T) {
	f := newFaulty(t)
	p := pool(t, calm(), Deps{}, f.url())
	for _, method := range []string{"GET", "POST", "POST", "GET"} {
		var body any
		if method == "POST" {
			body = "x"
		}
		r := request(t, method, "/", body)
		if status, _, report, err := send(p, r, Call{Idempotent: method == "GET"}); status != 200 || err != nil {
			t.Fatalf("%s: status %d, %+v, %v", method, status, report, err)
		}
		f.kill()
		f.restart(t)
	}
}
