package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/telemetry"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// counted is how many addresses and callers are counted at once, at about 40 bytes each (row H8).
const counted = 1 << 20

// incidentsWritten is how many connections refused before any request are written down each second; all are counted.
const incidentsWritten = 10

// node is this process: everything that outlives a reload, and the Gateway that serves now.
type node struct {
	state    string // directory
	log      *slog.Logger
	metrics  *telemetry.Metrics
	events   *audit.Log
	kept     kept
	server   *listen.Server
	gateway  atomic.Pointer[pipeline.Gateway]
	loading  sync.Mutex // one document at a time
	document *config.Document
	files    []string // that the document in force was made of
	ready    atomic.Bool
	admin    *http.Server // health, readiness and metrics; its Addr as bound
}

// kept is what guards, pools and the log of events are handed, found again by every document.
type kept struct {
	counters  *memory.Counters
	keys      *keys.Source
	verified  *bearer.Cache
	rules     *waf.Rules
	dev       *dev.Issuer // nil unless the development issuer is on
	pools     *pools
	trusted   atomic.Pointer[listen.Server]
	incidents sampler
}

// newNode makes the parts that need no document.
func newNode(state string, log *slog.Logger, rules *waf.Rules) *node {
	n := &node{state: state, log: log, metrics: telemetry.NewMetrics(version())}
	n.kept.incidents.most = incidentsWritten
	n.kept.counters = memory.NewCounters(counted, time.Now)
	n.kept.keys = keys.NewSource(time.Now, keys.System(), nil)
	n.kept.verified = bearer.NewCache(0)
	n.kept.rules = rules
	n.kept.pools = newPools(upstream.Deps{
		Now: time.Now, Dial: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, Log: log,
		WrapConn: func(c net.Conn) net.Conn { return wire.NewResponseConn(c, wire.ResponseLimits{}) },
	})
	return n
}

// Record counts an event and writes it down.
func (n *node) Record(e gate.Event) error {
	n.metrics.Event(e)
	return n.events.Record(e)
}

// Err tells that events cannot be written.
func (n *node) Err() error { return n.events.Err() }

// incident counts what was refused before any request, and writes down a sample of it.
func (n *node) incident(i listen.Incident) {
	e := gate.Event{ID: newID(i.Time), Time: i.Time.UTC(), Kind: gate.KindConnection, Note: i.Detail}
	if i.Peer.IsValid() {
		e.From.Address = i.Peer.Addr().String()
	}
	e.Decision = gate.Decision{Verdict: "deny", Guard: "listen", Reason: gate.Reason(i.Reason), Offset: i.Offset}
	n.metrics.Event(e)
	if suppressed, ok := n.kept.incidents.pass(i.Time); ok {
		e.Note = withSuppressed(e.Note, suppressed)
		_ = n.events.Record(e) // a log that fails is told by Err, and stops requests
	}
}

// load reads a document and makes a Gateway of it, or tells every mistake.
func (n *node) load(file string, data []byte) (*loaded, error) {
	d, err := config.Parse(file, data)
	var m mistake.List
	m.Under("", err)
	if d == nil {
		return nil, m
	}
	m.Under("", known(d))
	l := &loaded{document: d, files: []string{file}}
	l.listen, _, err = config.Section[listen.Config](d, "listen")
	m.Under("", err)
	l.audit, _, err = config.Section[audit.Config](d, "audit")
	m.Under("", err)
	m.Under("", d.Place(l.audit.Check(), "audit"))
	n.kept.pools.begin()
	l.gateway, err = pipeline.Build(d, n.tools(l))
	m.Under("", err)
	return l, m.Err()
}

// loaded is a document that was understood.
type loaded struct {
	document *config.Document
	listen   listen.Config
	audit    audit.Config
	gateway  *pipeline.Gateway
	files    []string
}

func (n *node) tools(l *loaded) pipeline.Tools {
	hash := l.document.Hash("")
	return pipeline.Tools{
		Now: time.Now, NewID: newID, Recorder: n, Counters: rate.Counters(n.kept.counters), Rules: n.kept.rules,
		Senders: n.kept.pools.sender, Unsafe: l.audit.OnFailure == "allow",
		Identity: identity.Tools{Now: time.Now, Keys: n.kept.keys, Verified: n.kept.verified, Policy: fmt.Sprintf("%x", hash[:6]), Dev: n.kept.dev},
		ReadFile: func(path string) ([]byte, error) {
			l.files = append(l.files, path)
			return os.ReadFile(path)
		},
	}
}

// start serves a first document. It returns when every socket is bound and requests are answered.
func (n *node) start(l *loaded, development bool) error {
	cfg := l.audit
	if cfg.Directory == "" {
		cfg.Directory = filepath.Join(n.state, "events")
	}
	file, at, err := audit.OpenFile(cfg)
	if err != nil {
		return err
	}
	n.events = audit.New(file, at, time.Now)
	n.server, err = listen.New(l.listen, listen.Deps{
		Handler: n, Now: time.Now, Log: n.log, Report: n.incident, StateDir: n.state, Development: development, Rand: rand.Reader,
	})
	if err != nil {
		return l.document.Place(err, "listen")
	}
	n.inForce(l)
	if err := n.kept.rules.Ready(); err != nil {
		return err
	}
	if err := n.serveAdmin(l.listen.AdminAddress().HostPort()); err != nil {
		return err
	}
	if err := n.server.Start(); err != nil {
		return err
	}
	n.ready.Store(true)
	n.system("gateway.started", "version "+version())
	return nil
}

func (n *node) inForce(l *loaded) {
	n.gateway.Store(l.gateway)
	n.document, n.files = l.document, l.files
	n.kept.pools.commit()
}

// ServeHTTP gives each request to the Gateway that is in force when it comes; a request sees exactly one document.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) { n.gateway.Load().ServeHTTP(w, r) }

// reload puts a new document in force, or leaves the old one and says why.
func (n *node) reload(file string) error {
	n.loading.Lock()
	defer n.loading.Unlock()
	data, err := os.ReadFile(file)
	if err == nil {
		err = n.replace(file, data)
	}
	n.metrics.Reload(err == nil)
	if err != nil {
		n.system("gateway.reload_refused", firstLine(err))
		return err
	}
	n.system("gateway.reloaded", "document "+file)
	return nil
}

func (n *node) replace(file string, data []byte) error {
	before := n.kept.pools.keys()
	l, err := n.load(file, data)
	if err == nil {
		if err = n.server.Reload(l.listen); err != nil {
			err = l.document.Place(err, "listen")
		}
	}
	if err != nil {
		n.kept.pools.abandon(before)
		return err
	}
	n.inForce(l)
	return nil
}

// system writes an event about the gateway itself.
func (n *node) system(reason gate.Reason, note string) {
	now := time.Now()
	_ = n.Record(gate.Event{ID: newID(now), Time: now.UTC(), Kind: gate.KindSystem, Note: note, Decision: gate.Decision{Verdict: "allow", Reason: reason}})
}

// serve answers requests until ctx ends, then lets those in progress end within grace.
func (n *node) serve(ctx context.Context, grace time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(ctx) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		n.ready.Store(false)
		drain, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		err = n.server.Drain(drain)
	}
	n.system("gateway.stopped", withSuppressed("", n.kept.incidents.rest()))
	return errors.Join(err, n.events.Close(), n.admin.Close())
}

// healthy tells why the node should get no requests now, or nil.
func (n *node) healthy() error {
	switch {
	case !n.ready.Load():
		return errors.New("starting or draining")
	case n.events.Err() != nil:
		return n.events.Err()
	}
	return nil
}

// serveAdmin binds the address of health, readiness and metrics, apart from everything that clients reach.
func (n *node) serveAdmin(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for health and metrics: %w; change listen.admin", err)
	}
	n.admin = &http.Server{Addr: listener.Addr().String(), Handler: n.health(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() { _ = n.admin.Serve(listener) }() // ends with Close
	return nil
}

func (n *node) health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := n.healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", n.metrics.Handler())
	return mux
}

func firstLine(err error) string {
	var list mistake.List
	if errors.As(err, &list) && len(list) > 1 {
		return fmt.Sprintf("%v (and %d more)", list[0], len(list)-1)
	}
	return err.Error()
}

// close ends what newNode began, for commands that serve nothing.
func (n *node) close() {
	n.kept.keys.Close()
	n.kept.pools.closeAll(func(string) bool { return true })
}
