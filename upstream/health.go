package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// start begins the probes, one goroutine a server, and the sweep over unused connections.
func (p *Pool) start(ctx context.Context) {
	p.watch.Go(func() {
		p.every(ctx, max(p.cfg.Timeouts.KeepAlive/2, 50*time.Millisecond), func() {
			for _, s := range p.servers {
				s.engine.reap(time.Now())
			}
		})
	})
	if p.cfg.Health.Active == "off" {
		return
	}
	for _, s := range p.servers {
		p.watch.Go(func() {
			row := 0
			p.every(ctx, p.cfg.Health.Interval, func() { row = p.judge(ctx, s, row) })
		})
	}
}

// every calls do each interval, the first time after a random part of one, so that many gateways don't probe in step.
func (p *Pool) every(ctx context.Context, interval time.Duration, do func()) {
	wait := time.Duration(p.deps.Rand() % uint64(interval))
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			do()
		}
		wait = interval
	}
}

// judge probes a server once. Row counts probes that contradict what is believed of it; enough of them change the belief.
func (p *Pool) judge(ctx context.Context, s *server, row int) int {
	err := p.probe(ctx, s)
	if ctx.Err() != nil {
		return row
	}
	down := s.ejector.down.Load()
	if down != (err == nil) { // believed down and failed, or believed up and answered
		return 0
	}
	row++
	switch {
	case !down && row >= p.cfg.Health.Fall:
		s.ejector.down.Store(true)
		p.deps.Log.Warn("server is down", "server", s.name, "cause", err)
	case down && row >= p.cfg.Health.Rise:
		s.ejector.down.Store(false)
		p.deps.Log.Info("server is up", "server", s.name)
	default:
		return row
	}
	return 0
}

func (p *Pool) probe(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Health.Timeout)
	defer cancel()
	if p.cfg.Health.Active == "tcp" {
		c, err := p.deps.Dial(ctx, "tcp", s.host)
		if err != nil {
			return err
		}
		return c.Close()
	}
	request := (&http.Request{Method: http.MethodGet, URL: &url.URL{}, Header: http.Header{}}).WithContext(ctx)
	a := &attempt{ctx: ctx, req: request, path: s.base + p.cfg.Health.Path}
	resp, end, err := s.engine.roundTrip(a)
	if err != nil {
		return err
	}
	left, err := io.Copy(io.Discard, io.LimitReader(resp.Body, copySize))
	end.end(err == nil && left < copySize)
	if err == nil && (resp.StatusCode < 200 || resp.StatusCode > 399) {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}
