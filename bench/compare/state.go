package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// states prints what it costs to be several and to remember: over real servers, by real requests.
func (f *field) states(w io.Writer, only string, rounds int, size int64, d time.Duration) error {
	list := []struct {
		name string
		run  func(*servers) error
	}{
		{"state cost", func(s *servers) error { return f.counted(w, s, rounds, d) }},
		{"state limit", func(s *servers) error { return f.limited(w, s) }},
		{"state reach", func(s *servers) error { return f.reached(w, s) }},
		{"state frozen", func(s *servers) error { return f.frozen(w, s, rounds) }},
		{"state backup", func(*servers) error { return f.backedUp(w, size) }},
	}
	for _, one := range list {
		if !strings.Contains(one.name, only) {
			continue
		}
		s, err := f.servers()
		if err == nil {
			err = one.run(s)
			s.stop()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

// servers are a PostgreSQL and a Redis that nobody has used before.
type servers struct {
	postgres *database
	redis    *process
	address  string // of Redis
}

func (f *field) servers() (*servers, error) {
	pg, err := f.postgres()
	if err != nil {
		return nil, err
	}
	re, address, err := f.redis()
	if err != nil {
		pg.stop()
		return nil, err
	}
	return &servers{pg, re, address}, nil
}

func (s *servers) stop() {
	s.redis.Stop()
	s.postgres.stop()
}

// both is state over both servers.
func (s *servers) both() remembered { return remembered{s.postgres, s.address} }

// half is the median.
func half[T cmp.Ordered](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
