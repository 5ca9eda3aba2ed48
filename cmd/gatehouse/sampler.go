package main

import (
	"fmt"
	"sync"
	"time"
)

// sampler lets a few things of each kind through each second and counts the rest, so that a flood of refused connections,
// which costs an attacker next to nothing, can fill neither the log nor the disk (row H17), and cannot hide another attack
// behind it. Kinds are a closed list. The zero sampler lets nothing through.
type sampler struct {
	most int // of each kind, each second

	mu         sync.Mutex
	second     int64
	passed     map[string]int
	suppressed int
}

// pass tells whether the next one goes through, and how many did not since the last that did.
func (s *sampler) pass(kind string, now time.Time) (suppressed int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := now.Unix(); second != s.second || s.passed == nil {
		s.second, s.passed = second, map[string]int{}
	}
	if s.passed[kind] >= s.most {
		s.suppressed++
		return 0, false
	}
	s.passed[kind]++
	suppressed, s.suppressed = s.suppressed, 0
	return suppressed, true
}

// rest is how many were held back and told to nobody yet.
func (s *sampler) rest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.suppressed
	s.suppressed = 0
	return n
}

// withSuppressed adds the number held back to a note.
func withSuppressed(note string, n int) string {
	if n == 0 {
		return note
	}
	if note != "" {
		note += "; "
	}
	return note + fmt.Sprintf("%d more refused connections were counted but not written", n)
}
