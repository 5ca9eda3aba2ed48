package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/dpop"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/portal"
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
	state   string // directory
	held    *held  // nil while nothing is served: check opens no store
	log     *slog.Logger
	now     func() time.Time
	metrics *telemetry.Metrics
	kept    kept
	written written
	server  *listen.Server
	gateway atomic.Pointer[pipeline.Gateway]
	serves  atomic.Pointer[fleet.Document] // what the others are told of the document in force
	papers  atomic.Pointer[papers]         // the document in force and what it was made of
	current current
	busy    atomic.Int64 // requests in progress
	ready   atomic.Bool
	admin   *http.Server // health, readiness and metrics; its Addr as bound
}

// kept is what guards and pools are handed, found again by every document.
type kept struct {
	counters rate.Counters
	keys     *keys.Source
	verified *bearer.Cache
	once     identity.Once
	nonces   *dpop.Nonces
	rules    *waf.Rules
	dev      *dev.Issuer // nil unless the development issuer is on
	pools    *pools
	streams  *pipeline.Drain // ends what has no end of its own
	lives    lives           // the secrets that pools and sockets were given
	env      environment
}

// written is the log of events on its way.
type written struct {
	log       atomic.Pointer[audit.Log] // nil before start
	sinks     *audit.Sinks
	config    audit.Config // that made them
	signing   *signing     // nil in a command
	stdout    *os.File
	incidents sampler
}

// current is the document in force, under a lock: one document at a time.
type current struct {
	sync.Mutex
	listen   listen.Config
	apis     []string
	document *config.Document
	source   *source.Source // where it comes from; nil for one that was given
	state    source.State
}

// newNode makes the parts that need no document.
func newNode(state string, log *slog.Logger, rules *waf.Rules) *node {
	n := &node{state: state, log: log, now: time.Now, metrics: telemetry.NewMetrics(version())}
	clock := func() time.Time { return n.now() }
	n.written.incidents.most = incidentsWritten
	n.written.stdout = os.Stdout
	n.kept.counters = memory.NewCounters(counted, steady())
	n.kept.keys = keys.NewSource(clock, keys.System(), n.keysFetched())
	n.kept.verified = bearer.NewCache(0)
	n.kept.once = fleet.NewOnce(memory.NewRecords(remembered, clock), clock)
	n.kept.nonces = dpop.NewNonces([]byte(rand.Text() + rand.Text())) // for a command that only looks; hold gives what nodes share
	n.kept.rules = rules
	n.kept.streams = pipeline.NewDrain()
	n.kept.pools = newPools(upstream.Deps{
		Now: clock, Dial: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, Log: log,
		WrapConn: func(c net.Conn) net.Conn { return wire.NewResponseConn(c, wire.ResponseLimits{}) }, Issuer: shownBy{n},
	}, n.resolver)
	n.families()
	return n
}

// steady is a clock that nobody can set: it counts from now on. What is counted lives no longer than the process, and a
// clock that is set back an hour must not shut callers out for that hour (row K5).
func steady() func() time.Time {
	start := time.Now()
	return func() time.Time { return start.Add(time.Since(start)) }
}

// keysFetched logs and records when an issuer's keys cannot be had, and when they can again.
func (n *node) keysFetched() func(keys.Status) {
	var mu sync.Mutex
	failing := map[string]string{}
	return func(s keys.Status) {
		mu.Lock()
		defer mu.Unlock()
		before := failing[s.Issuer]
		switch {
		case s.Failure == nil && before != "":
			delete(failing, s.Issuer)
			n.log.Info("keys are there again", "issuer", s.Issuer, "keys", s.Keys)
			n.system("keys.available", s.Issuer)
		case s.Failure != nil && before != s.Failure.Error():
			failing[s.Issuer] = s.Failure.Error()
			n.log.Warn("keys cannot be fetched", "issuer", s.Issuer, "usable", s.Keys, "error", s.Failure)
			n.system("keys.unavailable", fmt.Sprintf("%s: %v; %d keys fetched before are usable", s.Issuer, s.Failure, s.Keys))
		}
	}
}

// Record counts an event and writes it down. An error says that it will not be written.
func (n *node) Record(e gate.Event) error {
	n.metrics.Event(e)
	err := audit.ErrClosed
	if log := n.written.log.Load(); log != nil {
		err = log.Record(e)
	}
	if err != nil {
		n.metrics.Unwritten()
	}
	return err
}

// Err tells that events cannot be written.
func (n *node) Err() error {
	if log := n.written.log.Load(); log != nil {
		return log.Err()
	}
	return audit.ErrClosed
}

// incident counts what was refused before any request, and writes down a sample of it. It never waits.
func (n *node) incident(i listen.Incident) {
	e := gate.Event{ID: newID(i.Time), Time: i.Time.UTC(), Kind: gate.KindConnection, Note: i.Detail}
	if i.Peer.IsValid() {
		e.From.Address = i.Peer.Addr().String()
	}
	e.Decision = gate.Decision{Verdict: "deny", Guard: "listen", Reason: gate.Reason(i.Reason), Offset: i.Offset}
	n.metrics.Event(e)
	if suppressed, ok := n.written.incidents.pass(i.Reason, i.Time); ok {
		e.Note = withSuppressed(e.Note, suppressed)
		if log := n.written.log.Load(); log == nil || !log.Offer(e) {
			n.metrics.Unwritten()
		}
	}
}

// system writes an event about the gateway itself.
func (n *node) system(reason gate.Reason, note string) {
	now := n.now()
	_ = n.Record(gate.Event{ID: newID(now), Time: now.UTC(), Kind: gate.KindSystem, Note: note, Decision: gate.Decision{Verdict: "allow", Reason: reason}})
}

// loaded is a document that was understood.
type loaded struct {
	document *config.Document
	listen   listen.Config
	audit    audit.Config
	gateway  *pipeline.Gateway
	bundle   *source.Bundle
	papers   *papers
	portal   *portal.Portal // nil: nobody signs in here
}

// load makes a Gateway of a document, or tells every mistake.
func (n *node) load(b *source.Bundle) (*loaded, error) {
	d, err := config.Parse(b.File, b.Data)
	var m mistake.List
	m.Under("", err)
	if d == nil {
		return nil, m
	}
	m.Under("", known(d))
	l := &loaded{document: d, bundle: b, papers: newPapers(b)}
	for _, file := range filesNamed(d) {
		b.Watch(file)
	}
	r, err := rememberingOf(d, n.now())
	m.Under("", err)
	l.listen, _, err = config.Section[listen.Config](d, "listen")
	m.Under("", err)
	l.audit = r.audit.Default(n.state)
	m.Under("", d.Place(l.audit.Check(), "audit"))
	own := n.portal(l, r.fleet.Revocations.LongestToken, &m)
	n.kept.pools.begin()
	l.gateway, err = pipeline.Build(d, n.tools(l, own))
	m.Under("", err)
	if n.held != nil && len(m) == 0 { // otherwise whoever asked has told it already
		ctx, end := context.WithTimeout(context.Background(), resolveTime)
		m.Under("", n.held.mayRead(ctx, d))
		end()
	}
	misplaced(m)
	return l, m.Err()
}

func (n *node) tools(l *loaded, own signOn) pipeline.Tools {
	clock := func() time.Time { return n.now() }
	return pipeline.Tools{
		Now: clock, NewID: newID, Recorder: n, Counters: n.kept.counters, Rules: n.kept.rules,
		Senders: n.kept.pools.sender, Unsafe: l.audit.OnFailure == "allow", Drain: n.kept.streams,
		Identity: n.identity(l.document, own), Own: own.apis, Patches: n.addedPatches(),
		ReadFile: l.papers.reader(l.bundle.ReadFile), List: l.bundle.List,
	}
}

// identity is what the guard of that name is handed. Without an opened state, as in check, no token can be called back.
func (n *node) identity(d *config.Document, own signOn) identity.Tools {
	t := identity.Tools{
		Now: func() time.Time { return n.now() }, Keys: n.kept.keys, Verified: n.kept.verified, Policy: identityVersion(d), Dev: n.kept.dev,
		Secret: n.resolver("guards"),
		Once:   n.kept.once, Nonces: n.kept.nonces, Providers: own.providers,
	}
	if h := n.held; h != nil {
		t.Revocations, t.Longest = h.revocations, h.revocations.Longest()
		t.APIKeys, t.Sessions = h.apikeys, h.sessions
	}
	return t
}

// identityVersion is what the document says of identity: while that stays, so do the tokens that were verified by it.
func identityVersion(d *config.Document) string {
	h := sha256.New()
	all := d.Hash("guards.identity")
	h.Write(all[:])
	for i := range d.Len("apis") {
		own := d.Hash(fmt.Sprintf("apis[%d].guards.identity", i))
		if own != [32]byte{} {
			fmt.Fprintf(h, "%q %x", d.Value(fmt.Sprintf("apis[%d].name", i)), own)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// start serves a first document. It returns when every socket is bound and requests are answered.
func (n *node) start(l *loaded, development bool) (err error) {
	n.server, err = listen.New(l.listen, listen.Deps{
		Handler: n, Now: time.Now, Log: n.log, Report: n.incident, StateDir: n.state, Development: development, Rand: rand.Reader,
		Resolve: n.resolver("listen"),
	})
	if err != nil {
		return l.document.Place(err, "listen")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop())
		}
	}()
	if err := n.openEvents(l.audit); err != nil {
		return err
	}
	n.inForce(l)
	if err := n.keepSafe(); err != nil {
		return err
	}
	if n.admin, err = n.bindAdmin(l.listen.AdminAddress().HostPort()); err != nil {
		return err
	}
	if err := n.kept.rules.Ready(); err != nil {
		return err
	}
	if err := n.server.Start(); err != nil {
		return err
	}
	if h := n.held; h != nil {
		say := n.report
		h.report.Store(&say)
		if err := h.schedule(n.jobs()...); err != nil {
			return err
		}
		h.control.Offer(operations(h, n))
	}
	n.ready.Store(true)
	n.system("gateway.started", "version "+version())
	return nil
}

func (n *node) openEvents(cfg audit.Config) error {
	sinks, at, err := audit.Open(cfg, n.written.stdout)
	if err != nil {
		return err
	}
	n.written.sinks, n.written.config = sinks, cfg
	n.written.log.Store(audit.New(sinks, at, time.Now))
	return nil
}

// ServeHTTP gives each request to the Gateway that is in force when it comes; a request sees exactly one document.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.busy.Add(1)
	defer n.busy.Add(-1)
	n.gateway.Load().ServeHTTP(w, r)
}

// serve answers requests until ctx ends, then lets those in progress end within grace.
func (n *node) serve(ctx context.Context, grace time.Duration) error {
	upkeep, end := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { n.upkeep(upkeep) })
	if n.held != nil {
		working.Go(func() { n.held.run(upkeep) })
		working.Go(func() { n.written.signing.run(upkeep) })
		working.Go(func() { n.held.copies.run(upkeep) })
	}
	err := n.server.Serve(ctx)
	if ctx.Err() != nil {
		err = errors.Join(err, n.drain(grace))
	}
	end()
	working.Wait()
	n.system("gateway.stopped", withSuppressed("", n.written.incidents.rest()))
	return errors.Join(err, n.stop())
}

// stop ends what start began. Events that wait are written first.
func (n *node) stop() (err error) {
	if n.server != nil {
		n.server.Close()
	}
	if log := n.written.log.Load(); log != nil {
		err = log.Close()
	}
	if s := n.written.signing; s != nil {
		s.end()
	}
	if n.admin != nil {
		err = errors.Join(err, n.admin.Close())
	}
	n.close()
	return errors.Join(err, n.release())
}

// close ends what newNode began, for commands that serve nothing.
func (n *node) close() {
	n.kept.keys.Close()
	n.kept.pools.closeAll(func(string) bool { return true })
}
