package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// moody are servers whose behaviour changes while requests come. They count what each request was sent for.
type moody struct {
	*origin
	mu   sync.Mutex
	mood string
	seen map[string]int // by method and id
}

func newMoody(t testing.TB) *moody {
	m := &moody{seen: map[string]int{}}
	m.origin = newOrigin(t, m.answer)
	return m
}

func (m *moody) become(mood string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = mood
}

func (m *moody) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	id := r.Method + " " + r.URL.Path + string(body)
	m.mu.Lock()
	m.seen[id]++
	mood := m.mood
	m.mu.Unlock()
	switch mood {
	case "hung":
		<-r.Context().Done()
	case "slow":
		time.Sleep(50 * time.Millisecond)
		fmt.Fprint(w, "{}")
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "reset":
		reset(w, "")
	case "reset in the head":
		reset(w, "HTTP/1.1 200 OK\r\nContent-Le")
	case "reset in the body":
		reset(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	case "reset in a chunk":
		reset(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}")
	default:
		fmt.Fprint(w, "{}")
	}
}

func reset(w http.ResponseWriter, text string) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, text)
	if text != "" {
		time.Sleep(2 * time.Millisecond) // a reset overtakes what has not been read
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

const patiently = `
guards: {identity: {development: {accept_risk: a test}}, waf: {off: {accept_risk: a test}}, rate: {per_address: 100000/s burst 100000, per_caller: 100000/s burst 100000}}
apis:
  - {name: a, contract: orders.yaml, to: [%s], upstream: {timeouts: {first_byte: 200ms}, health: {interval: 200ms}}}
`

func moodyHouse(t *testing.T) (*house, []*moody) {
	var servers []*moody
	var urls []string
	for range 3 {
		m := newMoody(t)
		servers = append(servers, m)
		urls = append(urls, fmt.Sprintf("%q", m.url()))
	}
	return serving(t, listening+fmt.Sprintf(patiently, strings.Join(urls, ", ")), nil), servers
}

// H13, H15: while one of three servers lives, no idempotent request is lost, whatever becomes of the two others under load;
// a POST is never sent twice; retries stay within their budget, counted at the servers.
func TestServersComeAndGo(t *testing.T) {
	t.Parallel()
	r, servers := moodyHouse(t)
	const rate = 100
	stop := make(chan struct{})
	var working sync.WaitGroup
	var mu sync.Mutex
	var lost []string
	posts, gets := 0, 0
	working.Go(func() {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			working.Go(func() {
				q := r.request("GET", "h", fmt.Sprintf("/orders/%d", i), "")
				if i%4 == 0 {
					q = r.request("POST", "h", "/orders", fmt.Sprintf(`{"note": "%d"}`, i))
				}
				a, err := r.do(q)
				mu.Lock()
				defer mu.Unlock()
				if q.Method == "POST" {
					posts++
					return
				}
				gets++
				if err != nil || a.status != 200 {
					lost = append(lost, fmt.Sprintf("%s: %d %s %v", q.URL.Path, a.status, a.body, err))
				}
			})
		}
	})
	for i, mood := range []string{"killed", "hung", "slow", "503", "reset", "reset in the head"} {
		bad := []*moody{servers[i%3], servers[(i+1)%3]}
		for _, m := range bad {
			if m.become(mood); mood == "killed" {
				m.kill()
			}
		}
		time.Sleep(600 * time.Millisecond)
		for _, m := range bad {
			if m.become(""); mood == "killed" {
				m.restart(t)
			}
		}
		time.Sleep(400 * time.Millisecond)
	}
	close(stop)
	working.Wait()
	for i, l := range lost {
		if i < 5 {
			t.Error(l)
		}
	}
	attempts, twice := 0, 0
	seen := map[string]int{}
	for _, m := range servers {
		m.mu.Lock()
		for id, n := range m.seen {
			attempts += n
			seen[id] += n
		}
		m.mu.Unlock()
	}
	for id, n := range seen {
		if n > 1 && strings.HasPrefix(id, "POST") {
			twice++
			t.Errorf("sent %d times: %s", n, id)
		}
	}
	retries := attempts - len(seen)
	t.Logf("%d GET, %d lost; %d POST, %d twice; %d attempts at the servers for %d requests: %d retries", gets, len(lost), posts, twice, attempts, len(seen), retries)
	if most := (gets+posts)/10 + 50; retries > most {
		t.Errorf("%d retries for %d requests, want at most 10%% and a burst of 50", retries, gets+posts)
	}
	r.until("all servers are up again", func() bool {
		for _, m := range servers {
			if r.metric(`gatehouse_server_up{api="a",server="`+m.url()+`"}`) != "1" {
				return false
			}
			r.get("h", "/orders/1")
		}
		return true
	})
}

// An answer that breaks off is never retried and never looks whole: the client's connection breaks too, and the log holds
// the exchange and that it broke.
func TestABrokenBodyIsNeverRetried(t *testing.T) {
	t.Parallel()
	r, servers := moodyHouse(t)
	two := overTLS()
	for i, mood := range []string{"reset in the body", "reset in a chunk"} {
		for _, m := range servers {
			m.become(mood)
		}
		for major, c := range map[int]*http.Client{1: r.client, 2: two} {
			path := fmt.Sprintf("/orders/%d", 10*i+major)
			q := r.request("GET", "", path, "")
			if major == 2 {
				q.URL.Scheme, q.URL.Host = "https", strings.TrimPrefix(r.address("https"), "https://")
			}
			if a, err := exchange(c, q); err == nil {
				t.Errorf("HTTP/%d, %s: the client takes it for whole: %+v", major, mood, a)
			}
			times := 0
			for _, m := range servers {
				m.mu.Lock()
				times += m.seen["GET "+path]
				m.mu.Unlock()
			}
			if times != 1 {
				t.Errorf("HTTP/%d, %s: sent %d times", major, mood, times)
			}
		}
	}
	r.until("four broken answers are in the log", func() bool {
		whole, broken := map[string]bool{}, 0
		for _, e := range r.events() {
			switch {
			case e.Kind == gate.KindExchange:
				whole[e.ID] = true
			case e.Kind == gate.KindBroken && whole[e.Of] && e.Decision.Reason == "upstream.broken_answer":
				broken++
			}
		}
		return broken == 4
	})
}
