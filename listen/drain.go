package listen

import (
	"context"
	"errors"
	"time"
)

// Drain takes no more connections, lets what is being answered be answered and tells clients to go (Connection: close,
// GOAWAY). It returns when every connection has gone, those that handlers took over included, or with ctx's error when ctx
// ends first: then all that is left has been cut off. The server has ended when it returns (I16).
func (s *Server) Drain(ctx context.Context) error {
	s.control.Lock()
	for _, d := range s.control.doors {
		d.shut()
	}
	s.control.ended = true
	engines := append([]*engine{}, s.control.retired...)
	s.control.Unlock()
	defer s.Close()

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

// Close ends the server and cuts every connection off. It may be called again, and after Drain.
func (s *Server) Close() {
	s.end()
	s.control.Lock()
	defer s.control.Unlock()
	if s.control.closed {
		return
	}
	s.control.ended, s.control.closed = true, true
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
	if set.acme != nil {
		set.acme.stop()
	}
}
