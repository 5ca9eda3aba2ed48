package listen

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"
)

// Start binds every socket. Connections wait until Serve. When one cannot be bound, none is.
func (s *Server) Start() error {
	s.control.Lock()
	defer s.control.Unlock()
	if s.control.started {
		return errors.New("started twice")
	}
	set := *s.settings.Load()
	if err := s.apply(&set); err != nil {
		return err
	}
	s.control.started = true
	return nil
}

// Reload puts another document in force: certificates, trusted proxies, limits of new connections, addresses. Addresses
// that stay keep their sockets; connections that are there go on. When anything is wrong, nothing has changed and the error
// (a mistake.List, or of a socket) says why.
func (s *Server) Reload(cfg Config) error {
	s.control.Lock()
	defer s.control.Unlock()
	if s.control.ended {
		return errors.New("reload after the end")
	}
	set, err := s.prepare(cfg)
	if err != nil {
		return err
	}
	if !s.control.started {
		s.settings.Store(set)
		return nil
	}
	return s.apply(set)
}

// apply opens what is missing and puts the settings in force; the lock is held.
func (s *Server) apply(set *settings) error {
	opened, err := s.open(set.config.plans())
	if err != nil {
		return err
	}
	for _, p := range set.config.plans() {
		if p.role.secure && set.port == 0 {
			set.port = portOf(p, s.control.doors, opened)
		}
	}
	old := s.settings.Load()
	if set.acme, err = s.acmeFor(set, old, opened); err != nil {
		closeAll(opened)
		return err
	}
	if set.acme != nil {
		set.certs = append(slices.Clone(set.certs), set.acme)
	}
	if set.config.secure() {
		set.tls = newTLS(set.certs, set.acme, set.config.MinTLS, set.callers)
	}
	s.chooseEngines(set, old)
	s.exchangeDoors(set, opened)
	s.retire(old, set)
	s.warn(set)
	if old.acme != set.acme {
		if old.acme != nil {
			go old.acme.stop()
		}
		if set.acme != nil {
			return set.acme.start()
		}
	}
	return nil
}

// warnBefore is how long before its end a certificate is warned about at each load; ACME has renewed it long before.
const warnBefore = 14 * 24 * time.Hour

// warn logs certificates that clients refuse now or soon.
func (s *Server) warn(set *settings) {
	now := s.deps.Now()
	for _, c := range set.certs.inventory() {
		switch {
		case now.After(c.NotAfter) || now.Before(c.NotBefore):
			s.deps.Log.Error("certificate is not valid now: clients refuse it", "file", c.Source, "names", c.Names, "from", c.NotBefore, "until", c.NotAfter)
		case c.Source != "development" && now.Add(warnBefore).After(c.NotAfter):
			s.deps.Log.Warn("certificate ends soon", "file", c.Source, "names", c.Names, "until", c.NotAfter)
		}
	}
}

// chooseEngines keeps the engines whose limits stay.
func (s *Server) chooseEngines(set, old *settings) {
	if old.engine != nil && old.engine.limits == set.config.Limits {
		set.engine = old.engine
	} else {
		set.engine = newEngine(set.config.Limits, s.deps.Handler, s.deps.Log, s.report)
		set.engine.start()
	}
	switch {
	case set.config.Redirect.IsZero():
	case old.redirect != nil && old.redirect.limits == set.config.Limits:
		set.redirect = old.redirect
	default:
		set.redirect = newEngine(set.config.Limits, s.redirectHandler(), s.deps.Log, s.report)
		set.redirect.start()
	}
}

// exchangeDoors shuts the doors that the settings no longer name, puts the settings in force and opens the new doors.
func (s *Server) exchangeDoors(set *settings, opened map[string]*door) {
	wanted := map[string]plan{}
	for _, p := range set.config.plans() {
		wanted[p.key], wanted[second(p.key, 1)] = p, p
	}
	s.settings.Store(set)
	for key, d := range s.control.doors {
		p, stays := wanted[key]
		if !stays {
			d.shut()
			delete(s.control.doors, key)
			continue
		}
		d.role.Store(&p.role)
	}
	for key, d := range opened {
		s.control.doors[key] = d
		if s.control.serving {
			s.serveDoor(d)
		}
	}
}

func (s *Server) serveDoor(d *door) {
	s.accepting.Add(1)
	go s.accept(d)
}

// retire lets the engines go that the new settings don't use.
func (s *Server) retire(old, set *settings) {
	for _, e := range []*engine{old.engine, old.redirect} {
		if e != nil && e != set.engine && e != set.redirect {
			e.retire()
			s.control.retired = append(s.control.retired, e)
		}
	}
	s.control.retired = slices.DeleteFunc(s.control.retired, (*engine).gone)
}

// acmeFor keeps the ACME source when its configuration stays, and makes one when it is new.
func (s *Server) acmeFor(set, old *settings, opened map[string]*door) (*acmeSource, error) {
	a := set.config.ACME
	if a == nil {
		return nil, nil
	}
	if old.acme != nil && old.acme.config.same(a) {
		return old.acme, nil
	}
	ports := acmePorts{tls: set.port}
	for _, p := range set.config.plans() {
		if p.role.redirect {
			ports.http = portOf(p, s.control.doors, opened)
		}
	}
	return newACME(a, filepath.Join(s.deps.StateDir, "acme"), ports, s.deps.Log)
}

// Addresses gives the URL of every socket, with the ports that the system chose; the redirect's among them.
func (s *Server) Addresses() []string {
	s.control.Lock()
	defer s.control.Unlock()
	var all []string
	for _, d := range s.control.doors {
		all = append(all, d.url())
	}
	slices.Sort(all)
	return all
}

// Serve serves until Drain or Close has ended the server. When ctx ends it returns, and nothing else happens: whoever ended
// ctx drains, and until then nobody is turned away.
func (s *Server) Serve(ctx context.Context) error {
	s.control.Lock()
	if !s.control.started || s.control.serving {
		s.control.Unlock()
		return errors.New("serve needs one Start before it")
	}
	s.control.serving = true
	for _, d := range s.control.doors {
		s.serveDoor(d)
	}
	s.control.Unlock()
	go s.watch()
	select {
	case <-s.ctx.Done():
	case <-ctx.Done():
	}
	return nil
}
