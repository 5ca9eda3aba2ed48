package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// campaign is reloads under load. scripts/soak runs the long form; what go test runs is the same, shorter.
type campaign struct {
	reloads int
	every   time.Duration // between reloads
	rate    int           // requests a second
	waf     bool
	memory  float64 // most growth of the heap from a tenth of the way to the end; 0: not measured
}

// I8: reloads under load. Each request sees exactly one document: both name a server and the field in which it learns the
// caller, and they never mix. No request fails, over HTTP/1 and HTTP/2, while servers, guards and limits are exchanged, and
// nothing is left behind.
func TestReloadUnderLoad(t *testing.T) {
	c := campaign{reloads: 60, every: 50 * time.Millisecond, rate: 200, memory: 1.5}
	if raceDetector {
		c = campaign{reloads: 40, every: 50 * time.Millisecond, rate: 100}
	}
	c.long(1000, 1.1)
	c.run(t)
}

// The same with the rules of the WAF, which are compiled once and never again.
func TestReloadUnderLoadWithWAF(t *testing.T) {
	c := campaign{reloads: 10, every: 100 * time.Millisecond, rate: 20, waf: true, memory: 1.5}
	c.long(100, 1.1)
	c.run(t)
}

// long makes it the long form, when GATEHOUSE_SOAK is set.
func (c *campaign) long(reloads int, memory float64) {
	if os.Getenv("GATEHOUSE_SOAK") != "" {
		c.reloads, c.memory, c.every = reloads, memory, 200*time.Millisecond
	}
}

func (c campaign) document(server *origin, version int) string {
	waf := "waf: {off: {accept_risk: a test}}"
	if c.waf {
		waf = "waf: {paranoia: 1}"
	}
	name := string(rune('a' + version%2))
	return listening + fmt.Sprintf(`
guards:
  identity: {development: {accept_risk: a test}, headers: {subject: Caller-%s}}
  rate: {per_address: 100000/s burst 100000, per_caller: 100000/s burst 100000}
  limits: {url: %dKiB}
  %s
apis:
  - {name: shop, contract: orders.yaml, to: ["%s/%s"]}
  - {name: other, base: /other, contract: orders.yaml, to: ["%s/other"]}
`, name, 4+version%7, waf, server.url(), name, server.url())
}

// judged is how many requests the WAF has judged.
func judged(r *house) uint64 {
	fast, slow := r.node.kept.rules.Requests()
	return fast + slow
}

func (c campaign) run(t *testing.T) {
	t.Parallel()
	var torn atomic.Int64
	server := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			tellOn(w, r)
			return
		}
		version := strings.SplitN(r.URL.Path, "/", 3)[1]
		for _, other := range []string{"a", "b"} {
			if r.Header.Get("Caller-"+other) != "" && version != other && version != "other" {
				torn.Add(1)
			}
		}
		fmt.Fprintf(w, `{"version": %q}`, version)
	})
	r := serving(t, c.document(server, 0), map[string]string{"orders.yaml": orders + watching})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	load := newLoad(r)
	streams := []*listener{load.listen(ctx, 0, "/events"), load.listen(ctx, 1, "/events"), load.listen(ctx, 0, "/other/events"), load.listen(ctx, 1, "/other/events")}
	loading := make(chan struct{})
	go func() { load.run(ctx, c.rate); close(loading) }()
	for c.waf && judged(r) == 0 { // the first requests wait for the rules, and then come all at once
		time.Sleep(10 * time.Millisecond)
	}
	var early, dialled uint64
	working := 0
	other := func() uint64 { return uint64(r.servers()["other "+server.url()+"/other"].Dials) }
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for i := 1; i <= c.reloads; i++ {
		<-tick.C
		if err := r.reload(c.document(server, i)); err != nil {
			t.Fatalf("reload %d: %v", i, err)
		}
		if i == c.reloads/10 {
			early, dialled, working = heap(), other(), runtime.NumGoroutine()
		}
	}
	late := heap()
	if now := runtime.NumGoroutine(); os.Getenv("GATEHOUSE_SOAK") != "" && now > working+100 { // other tests run beside the short form
		t.Errorf("%d goroutines at the end, %d after a tenth", now, working)
	}
	for _, l := range streams {
		l.check(t)
	}
	if now := other(); now > dialled+uint64(max(c.reloads/2, 5)) { // a burst may need some more; a pool that is lost needs one each time
		t.Errorf("%d connections opened to a server whose API never changed", now-dialled)
	}
	stop()
	<-loading
	if n := torn.Load(); n > 0 {
		t.Errorf("%d requests saw two documents", n)
	}
	load.check(t)
	t.Logf("%d reloads, %d requests, heap %d KiB after a tenth, %d KiB at the end (%.2f)", c.reloads, load.sent.Load(), early>>10, late>>10, float64(late)/float64(early))
	if c.memory > 0 && float64(late) > c.memory*float64(early) {
		t.Errorf("the heap grew from %d to %d bytes", early, late)
	}
	if n := len(r.servers()); n != 2 {
		t.Errorf("%d pools are left, want 2", n)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	c.checkEvents(t, r, load.sent.Load())
}

// checkEvents wants one event for each request, and each to name server and policy of one document.
func (c campaign) checkEvents(t *testing.T, r *house, sent int64) {
	verify(t, r)
	exchanges := int64(0)
	policies := map[string]string{}
	for _, e := range r.events() {
		if e.Kind != gate.KindExchange {
			continue
		}
		exchanges++
		if e.Request.API == "other" {
			continue
		}
		if version, known := policies[e.Decision.Policy]; known && version != path.Base(e.Result.Server) {
			t.Fatalf("policy %s sent requests to %s and %s", e.Decision.Policy, version, e.Result.Server)
		}
		policies[e.Decision.Policy] = path.Base(e.Result.Server)
	}
	if exchanges != sent {
		t.Errorf("%d events for %d requests", exchanges, sent)
	}
}

// load is clients that ask all the time.
type load struct {
	house *house
	http  [2]*http.Client // HTTP/1 and HTTP/2
	base  [2]string
	sent  atomic.Int64

	mu     sync.Mutex
	failed []string
}

// watching is a stream beside the orders.
const watching = `
  /events:
    get:
      operationId: watchOrders
      x-gatehouse-stream: sse
      security: []
      responses: {"200": {description: ok, content: {text/event-stream: {}}}}
`

// tellOn sends numbers until the client leaves.
func tellOn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := 1; r.Context().Err() == nil; i++ {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", i); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

// listener is a stream that was opened before all reloads and must outlive them.
type listener struct {
	name  string
	heard atomic.Int64
	ended atomic.Pointer[error]
}

func (l *load) listen(ctx context.Context, which int, path string) *listener {
	s := &listener{name: l.base[which] + path}
	go func() {
		err := s.follow(ctx, l.http[which].Transport)
		s.ended.Store(&err)
	}()
	return s
}

func (s *listener) follow(ctx context.Context, transport http.RoundTripper) error {
	q, err := http.NewRequestWithContext(ctx, "GET", s.name, nil)
	if err != nil {
		return err
	}
	q.Header.Set("Accept", "text/event-stream")
	response, err := transport.RoundTrip(q)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); ; {
		if !lines.Scan() {
			return fmt.Errorf("%s: ended: %w", response.Status, lines.Err())
		}
		if number, ok := strings.CutPrefix(lines.Text(), "data: "); ok && number != strconv.FormatInt(s.heard.Add(1), 10) {
			return fmt.Errorf("heard %s after %d", number, s.heard.Load()-1)
		}
	}
}

// check wants the stream alive.
func (s *listener) check(t *testing.T) {
	t.Helper()
	before := s.heard.Load()
	for end := time.Now().Add(5 * time.Second); s.heard.Load() <= before && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := s.ended.Load(); err != nil {
		t.Errorf("stream %s: %v", s.name, *err)
	} else if s.heard.Load() <= before {
		t.Errorf("stream %s: nothing after %d messages", s.name, before)
	}
}

func newLoad(r *house) *load {
	return &load{house: r, http: [2]*http.Client{r.client, overTLS()}, base: [2]string{r.address("http"), r.address("https")}}
}

// run sends rate requests a second until ctx ends, and waits for the last.
func (l *load) run(ctx context.Context, rate int) {
	var working sync.WaitGroup
	defer working.Wait()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		working.Go(func() { l.one(i) })
	}
}

func (l *load) one(i int) {
	method, path, body := "GET", "/orders/"+strconv.Itoa(i), ""
	switch i % 5 {
	case 1:
		method, path, body = "POST", "/orders", `{"note": "`+strings.Repeat("n", i%1000)+`"}`
	case 3:
		path = "/other" + path
	}
	q := l.house.request(method, "", path, body)
	q.URL.Host, q.URL.Scheme = strings.TrimPrefix(strings.TrimPrefix(l.base[i%2], "http://"), "https://"), [2]string{"http", "https"}[i%2]
	q.Host = ""
	l.sent.Add(1)
	a, err := exchange(l.http[i%2], q)
	if err == nil && a.status == 200 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, fmt.Sprintf("%s %s: %d %s %v", method, path, a.status, a.body, err))
}

func (l *load) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.failed {
		if i < 5 {
			t.Error(f)
		}
	}
	if len(l.failed) > 0 {
		t.Errorf("%d of %d requests failed", len(l.failed), l.sent.Load())
	}
}

// heap is what is in use after the garbage is gone.
func heap() uint64 {
	var m runtime.MemStats
	least := ^uint64(0)
	for range 5 { // requests in progress come and go
		runtime.GC()
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc)
	}
	return least
}
