package upstream

import (
	"sync/atomic"
	"time"
)

// server is one target with all that the pool knows of it.
type server struct {
	target
	hash    uint64
	most    int64 // requests in progress at once
	engine  engine
	breaker breaker
	ejector ejector

	busy     atomic.Int64 // requests in progress
	requests atomic.Int64 // attempts sent
	failures atomic.Int64 // attempts that the server failed
}

// place is the right to send one request to a server. It is given back by settle.
type place struct {
	server       *server
	began        time.Time
	breakerProbe bool
	ejectorProbe bool
	released     bool
}

// ready tells, without taking a place, whether take would succeed.
func (s *server) ready(now time.Time, lax bool) bool {
	return s.busy.Load() < s.most && (lax || s.ejector.ready(now)) && s.breaker.ready(now)
}

// take takes a place for one request and notes it in p. It tells whether there was one.
func (s *server) take(p *place, now time.Time, lax bool) (ok bool) {
	*p = place{}
	if s.busy.Add(1) > s.most {
		s.busy.Add(-1)
		return false
	}
	if !lax {
		if p.ejectorProbe, ok = s.ejector.admit(now); !ok {
			s.busy.Add(-1)
			return false
		}
	}
	if p.breakerProbe, ok = s.breaker.admit(now); !ok {
		s.ejector.release(p.ejectorProbe)
		s.busy.Add(-1)
		return false
	}
	p.server, p.began = s, now
	s.requests.Add(1)
	return true
}

// headCame ends the probation's turn: the next request may test the server while this one's body is on its way.
func (p *place) headCame() {
	p.server.ejector.release(p.ejectorProbe)
	p.ejectorProbe = false
}

// record tells what the request has shown. Only the first call counts.
func (p *place) record(o outcome, now time.Time) {
	if p.released {
		return
	}
	p.released = true
	if o == bad {
		p.server.failures.Add(1)
	}
	p.server.ejector.record(o, p.began, now)
	p.server.ejector.release(p.ejectorProbe)
	p.server.breaker.record(o, p.breakerProbe, now)
}

// settle records the outcome, if that has not happened, and gives the place back.
func (p *place) settle(o outcome, now time.Time) {
	p.record(o, now)
	p.server.busy.Add(-1)
}

// ServerState is what the pool knows of one server, for metrics and status.
type ServerState struct {
	Server   string // scheme://host:port/base
	Healthy  bool   // neither ejected nor down by its probe
	Ejected  bool   // out after failed requests in a row
	Down     bool   // out after failed probes
	Breaker  string // closed, open or half_open
	Busy     int64  // requests in progress
	Idle     int    // connections kept for the next request (http1)
	Requests int64  // attempts sent, retries included
	Failures int64  // attempts that the server failed
	Dials    int64  // connections opened (http1)
}

func (s *server) state(now time.Time) ServerState {
	out, down := s.ejector.out(now), s.ejector.down.Load()
	idle, dials := s.engine.counts()
	return ServerState{
		Server: s.name, Healthy: !out && !down, Ejected: out, Down: down, Breaker: s.breaker.word(),
		Busy: s.busy.Load(), Idle: idle, Requests: s.requests.Load(), Failures: s.failures.Load(), Dials: dials,
	}
}
