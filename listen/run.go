package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// door is one bound socket.
type door struct {
	listener net.Listener
	address  Address // as written
	role     atomic.Pointer[role]
}

// url is where the door really is, with the port that the system chose.
func (d *door) url() string {
	scheme := "http"
	if d.role.Load().secure {
		scheme = "https"
	}
	return scheme + "://" + d.listener.Addr().String()
}

// shut closes the door after those who already stand before it were let in: a connection that the system has accepted for
// us would otherwise be reset.
func (d *door) shut() {
	if l, ok := d.listener.(*net.TCPListener); ok {
		_ = l.SetDeadline(time.Now().Add(50 * time.Millisecond))
	}
	time.AfterFunc(60*time.Millisecond, func() { _ = d.listener.Close() })
}

// plan is a door that a document asks for.
type plan struct {
	key     string // the same for the same socket, over reloads
	address Address
	role    role
}

func (c Config) plans() []plan {
	var all []plan
	add := func(a Address, r role) {
		key := a.HostPort()
		if a.port == 0 { // the system chooses: such doors are the same only at the same place in the document
			key = fmt.Sprintf("%s %d", a, len(all))
		}
		all = append(all, plan{key: key, address: a, role: r})
	}
	for _, a := range c.At {
		add(a, role{secure: a.Secure()})
	}
	if !c.Redirect.IsZero() {
		add(c.Redirect, role{redirect: true})
	}
	return all
}

// Start binds every socket. Connections wait until Serve. When one cannot be bound, none is.
func (s *Server) Start() error {
	s.control.Lock()
	defer s.control.Unlock()
	if s.control.started {
		return errors.New("started twice")
	}
	if err := s.apply(s.settings.Load()); err != nil {
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
	acme, err := s.acmeFor(set, opened)
	if err != nil {
		closeAll(opened)
		return err
	}
	if acme != nil {
		set.certs = append(slices.Clone(set.certs), acme)
	}
	if set.config.secure() {
		set.tls = newTLS(set.certs, acme, set.config.MinTLS)
	}
	old := s.settings.Load()
	s.chooseEngines(set, old)
	s.exchangeDoors(set, opened)
	if old != set {
		s.retire(old, set)
	}
	if before := s.control.acme; before != acme {
		s.control.acme = acme
		if before != nil {
			go before.stop()
		}
		if acme != nil {
			return acme.start()
		}
	}
	return nil
}

// open binds the planned doors that are not there yet.
func (s *Server) open(plans []plan) (map[string]*door, error) {
	opened := map[string]*door{}
	for _, p := range plans {
		if s.control.doors[p.key] != nil {
			continue
		}
		listeners, err := p.address.bind()
		if err != nil {
			closeAll(opened)
			return nil, err
		}
		for i, l := range listeners {
			d := &door{listener: l, address: p.address}
			d.role.Store(&p.role)
			opened[second(p.key, i)] = d
		}
	}
	return opened, nil
}

// second is the key of the i-th socket of one address; localhost has two.
func second(key string, i int) string {
	if i == 0 {
		return key
	}
	return key + "/" + strconv.Itoa(i)
}

func closeAll(doors map[string]*door) {
	for _, d := range doors {
		_ = d.listener.Close()
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

// portOf is the port that the planned door really has.
func portOf(p plan, doors ...map[string]*door) int {
	for _, some := range doors {
		if d := some[p.key]; d != nil {
			return d.listener.Addr().(*net.TCPAddr).Port
		}
	}
	return int(p.address.port)
}

// acmeFor keeps the ACME source when its configuration stays, and makes one when it is new.
func (s *Server) acmeFor(set *settings, opened map[string]*door) (*acmeSource, error) {
	a := set.config.ACME
	if a == nil {
		return nil, nil
	}
	if s.control.acme != nil && s.control.acme.config.same(a) {
		return s.control.acme, nil
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

// Serve serves until Drain has ended, or until ctx ends, which ends every connection at once.
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
	s.stop()
	return nil
}

// Drain takes no more connections, lets what is being answered be answered and tells clients to go (Connection: close,
// GOAWAY). It returns when every connection has gone, those that handlers took over included, or with ctx's error when ctx
// ends first: then all that is left is cut off. Serve returns after it (I16).
func (s *Server) Drain(ctx context.Context) error {
	s.control.Lock()
	for _, d := range s.control.doors {
		d.shut()
	}
	s.control.ended = true
	engines := append([]*engine{}, s.control.retired...)
	s.control.Unlock()
	defer s.end()

	entered := make(chan struct{})
	go func() {
		s.accepting.Wait()
		s.admitting.Wait()
		close(entered)
	}()
	set := s.settings.Load()
	for _, e := range []*engine{set.engine, set.redirect} {
		if e != nil {
			e.one.SetKeepAlivesEnabled(false)
			engines = append(engines, e)
		}
	}
	select {
	case <-entered:
	case <-ctx.Done():
		return ctx.Err()
	}
	errs := make(chan error, len(engines))
	for _, e := range engines {
		go func() { errs <- e.drain(ctx) }()
	}
	var all error
	for range engines {
		all = errors.Join(all, <-errs)
	}
	return errors.Join(all, s.empty(ctx))
}

// empty waits until the last connection has gone.
func (s *Server) empty(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.census.total() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// stop ends whatever there still is.
func (s *Server) stop() {
	s.end()
	s.control.Lock()
	defer s.control.Unlock()
	s.control.ended = true
	closeAll(s.control.doors)
	s.census.closeAll()
	s.accepting.Wait()
	set := s.settings.Load()
	for _, e := range append(s.control.retired, set.engine, set.redirect) {
		if e != nil {
			e.stop()
		}
	}
	s.admitting.Wait()
	s.census.closeAll()
	if s.control.acme != nil {
		s.control.acme.stop()
		s.control.acme = nil
	}
}

// watch looks at the certificate files now and then and puts changed ones in force. Files that cannot be used, such as a
// certificate whose key has not been exchanged yet, leave the old certificate serving and are an incident.
func (s *Server) watch() {
	tick := time.NewTicker(s.deps.Poll)
	defer tick.Stop()
	var refused []stamp // these files were looked at and cannot be used
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			refused = s.look(refused)
		}
	}
}

func (s *Server) look(refused []stamp) []stamp {
	s.control.Lock()
	defer s.control.Unlock()
	set := s.settings.Load()
	now := stampsOf(set.config.Certificates)
	if len(now) == 0 || sameStamps(now, set.stamps) || sameStamps(now, refused) {
		return refused
	}
	loaded, mistakes := loadFiles(set.config.Certificates)
	if err := mistakes.Err(); err != nil {
		s.deps.Log.Error("changed certificate refused, the old one serves on", "error", err)
		s.report(Incident{Reason: reasonCertificate, Detail: err.Error()})
		return now
	}
	next := *set
	next.stamps = loaded.stamps
	next.certs = shelf{loaded}
	if s.control.acme != nil {
		next.certs = append(next.certs, s.control.acme)
	}
	next.tls = newTLS(next.certs, s.control.acme, next.config.MinTLS)
	s.settings.Store(&next)
	s.deps.Log.Info("certificates reloaded")
	return nil
}
