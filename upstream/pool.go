package upstream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// Deps is what a Pool needs from outside. The zero value is good for production but for WrapConn.
type Deps struct {
	Now      func() time.Time                                                     // the clock of health and breakers; nil is time.Now
	Rand     func() uint64                                                        // for choosing servers; nil is math/rand/v2
	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil is net.Dialer
	WrapConn func(net.Conn) net.Conn                                              // the strict reader over an HTTP/1.1 connection, above TLS; nil is none
	Resolve  func(secret.Ref) (secret.Value, error)                               // nil is Ref.Resolve
	Issuer   Issuer                                                               // for tls.client: internal; nil is none
	Log      *slog.Logger                                                         // servers that go and come back; nil is silence
}

func (d Deps) withDefaults() Deps {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Rand == nil {
		d.Rand = rand.Uint64
	}
	if d.Dial == nil {
		d.Dial = (&net.Dialer{}).DialContext
	}
	if d.WrapConn == nil {
		d.WrapConn = func(c net.Conn) net.Conn { return c }
	}
	if d.Resolve == nil {
		d.Resolve = secret.Ref.Resolve
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return d
}

// Pool is the servers of one API. It is safe for concurrent use and keeps its connections, health and breakers for as long
// as cmd keeps it: reloads that leave its section alone leave all of that alone.
type Pool struct {
	cfg     Config
	deps    Deps
	servers []*server
	show    show // the gateway's certificate; nil when it shows none
	balance balancer
	budget  *budget
	turn    atomic.Uint64
	done    context.CancelFunc
	watch   sync.WaitGroup
}

// New builds the pool for targets, each http(s)://host[:port][/base], and starts its probes. The error is a mistake.List
// whose paths lie in the section, or begin with "targets[".
func New(cfg Config, targets []string, deps Deps) (*Pool, error) {
	cfg, deps = cfg.withDefaults(), deps.withDefaults()
	wrong := cfg.check(deps.Now())
	list, bad := parseTargets(cfg.Protocol, targets)
	wrong = append(wrong, bad...)
	secure, show := cfg.TLS.client(&wrong, deps)
	if cfg.TLS != (TLS{}) {
		for _, t := range list {
			if t.scheme == "http" {
				wrong.Add("tls", "", "%s is not reached by TLS, so that these settings would say nothing", t.name)
			}
		}
	}
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{cfg: cfg, deps: deps, show: show, budget: newBudget(cfg.Retry), done: cancel}
	p.balance = p.balancer()
	live := show
	if cfg.TLS.Client != "" {
		live = nil // renewed, never withdrawn: kept connections stay as they are
	}
	for _, t := range list {
		p.servers = append(p.servers, newServer(t, cfg, secure, live, deps))
	}
	p.start(ctx)
	return p, nil
}

func (p *Pool) balancer() balancer {
	switch p.cfg.Balance {
	case "round_robin":
		return roundRobin(func() uint64 { return p.turn.Add(1) - 1 })
	case "hash":
		return rendezvous(powerOfTwo(p.deps.Rand))
	}
	return powerOfTwo(p.deps.Rand)
}

func newServer(t target, cfg Config, secure *tls.Config, live show, deps Deps) *server {
	s := &server{target: t, hash: digest(t.name), most: int64(cfg.MaxConnections)}
	s.breaker.cfg, s.ejector.cfg = cfg.Breaker, cfg.Health
	s.ejector.clean.Store(true)
	if t.scheme == "https" {
		secure = secure.Clone()
		if secure.ServerName == "" {
			secure.ServerName = t.named
		}
	} else {
		secure = nil
	}
	if cfg.Protocol == "http1" {
		s.engine = newHTTP1(t, cfg, secure, live, deps)
	} else {
		s.engine = newHTTP2(t, cfg, secure, live, deps)
	}
	return s
}

// Close ends the probes and lets go of unused connections. What is in progress goes on to its end; a request that still
// comes, from an exchange begun before a reload, is sent over a connection of its own.
func (p *Pool) Close() {
	p.done()
	p.watch.Wait()
	for _, s := range p.servers {
		s.engine.close()
	}
}

// State tells what is known of each server, in the order of the targets.
func (p *Pool) State() []ServerState {
	now := p.deps.Now()
	list := make([]ServerState, len(p.servers))
	for i, s := range p.servers {
		list[i] = s.state(now)
	}
	return list
}
