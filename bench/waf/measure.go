package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
)

// measured is a case with what was seen of each rival.
type measured struct {
	traffic.Case
	raws [][]byte
	seen map[string]*seen // by the rival's name
	kept int              // requests of the case that are sent; fewer than there are where it sifts
}

// seen is what was seen of one rival.
type seen struct {
	without, added []float64 // ms of CPU for each request, one for each round
	status         []map[int]int
	fast, slow     float64
	told           bool
	lost           bool // a request got no answer; it isn't tried again
}

func newMeasured(c traffic.Case) *measured {
	m := &measured{Case: c, seen: map[string]*seen{}}
	for _, r := range c.Requests {
		m.raws = append(m.raws, r.Bytes())
	}
	m.kept = len(m.raws)
	return m
}

// round runs every rival once, with its rules and without.
func (m *measured) round(rivals []firewall.Rival, d time.Duration) error {
	if m.Sift && len(m.seen) == 0 {
		if err := m.sift(rivals); err != nil {
			return err
		}
	}
	bare := map[*firewall.Server]run{}
	for _, r := range rivals {
		without, ok := bare[r.Without]
		if !ok {
			var err error
			if without, err = m.drive(r.Without, d); err != nil {
				return fmt.Errorf("%s without its rules: %w", r.Name, err)
			}
			bare[r.Without] = without
		}
		if n := without.wrong(http.StatusOK); n > 0 {
			return fmt.Errorf("%s without its rules refuses %d requests: %v", r.Name, n, without.status)
		}
		s := m.seen[r.Name]
		if s == nil {
			s = &seen{}
			m.seen[r.Name] = s
		}
		if s.lost {
			continue
		}
		fast, slow, _ := r.With.Paths()
		with, err := m.drive(r.With, d)
		if errors.Is(err, firewall.ErrLost) {
			s.lost = true
			if err := r.With.Restart(); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		after, behind, told := r.With.Paths()
		s.fast, s.slow, s.told = s.fast+after-fast, s.slow+behind-slow, told
		s.without, s.added = append(s.without, without.millis), append(s.added, with.millis-without.millis)
		s.status = append(s.status, with.status)
	}
	return nil
}

// sift keeps the requests that Gatehouse takes without its WAF and plain Coraza allows.
func (m *measured) sift(rivals []firewall.Rival) error {
	plain := rivals[slices.IndexFunc(rivals, func(r firewall.Rival) bool { return r.Name == firewall.Coraza })]
	takes, allows := rivals[0].Without.Conn(), plain.With.Conn()
	defer takes.Close()
	defer allows.Close()
	var kept [][]byte
	for _, raw := range m.raws {
		taken, err := takes.Send(raw)
		if err != nil {
			return err
		}
		allowed, err := allows.Send(raw)
		if err != nil {
			return err
		}
		if taken == http.StatusOK && allowed == http.StatusOK {
			kept = append(kept, raw)
		}
	}
	if len(kept) == 0 {
		return fmt.Errorf("none of %d requests is benign", len(m.raws))
	}
	m.raws, m.kept = kept, len(kept)
	return nil
}

// run is one run.
type run struct {
	millis float64 // CPU for each request
	status map[int]int
}

func (r run) wrong(want int) (n int) {
	for status, k := range r.status {
		if status != want {
			n += k
		}
	}
	return n
}

// drive sends the requests in turn over a few connections for so long, and at least one over each. What has begun is
// waited for, so that a slow request counts as a whole.
func (m *measured) drive(s *firewall.Server, d time.Duration) (run, error) {
	probe := s.Conn()
	began := time.Now()
	if _, err := probe.Send(m.raws[0]); err != nil {
		return run{}, err
	}
	probe.Close()
	workers := 4
	if time.Since(began) > 20*time.Millisecond { // more would only queue
		workers = 2
	}
	before, err := s.Fine()
	if err != nil {
		return run{}, err
	}
	out := run{status: map[int]int{}}
	var next, count atomic.Int64
	var guarded sync.Mutex
	var failed error
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range workers {
		all.Go(func() {
			c := s.Conn()
			defer c.Close()
			status := map[int]int{}
			var err error
			for first := true; err == nil && (first || time.Now().Before(end)); first = false {
				var code int
				if code, err = c.Send(m.raws[int(next.Add(1)-1)%len(m.raws)]); err == nil {
					status[code]++
					count.Add(1)
				}
			}
			guarded.Lock()
			defer guarded.Unlock()
			if err != nil {
				failed = err
			}
			for code, n := range status {
				out.status[code] += n
			}
		})
	}
	all.Wait()
	if failed != nil {
		return run{}, failed
	}
	after, err := s.Fine()
	out.millis = float64((after - before).Nanoseconds()) / 1e6 / float64(count.Load())
	return out, err
}
