package main

import (
	"sync"
	"testing"
	"time"
)

// TestSampler: row H17. However many come in a second, ten pass, and every other is accounted for.
func TestSampler(t *testing.T) {
	s := sampler{most: 10}
	start := time.Unix(1_800_000_000, 0)
	total, passed, told := 0, 0, 0
	for second := range 3 {
		for range 5_000 {
			total++
			if n, ok := s.pass("a", start.Add(time.Duration(second)*time.Second)); ok {
				passed++
				told += n
			}
		}
	}
	told += s.rest()
	if passed != 30 {
		t.Errorf("%d passed in three seconds, want 30", passed)
	}
	if passed+told != total {
		t.Errorf("%d passed and %d were told of, of %d", passed, told, total)
	}
	if s.rest() != 0 {
		t.Error("the rest is told twice")
	}
}

// TestSamplerKinds: a flood of one kind hides no other.
func TestSamplerKinds(t *testing.T) {
	s := sampler{most: 2}
	now := time.Unix(1_800_000_000, 0)
	for range 1000 {
		s.pass("flood", now)
	}
	if n, ok := s.pass("other", now); !ok || n != 998 {
		t.Errorf("the other kind passed %v and told of %d, want 998", ok, n)
	}
}

func TestSamplerZero(t *testing.T) {
	if _, ok := new(sampler).pass("a", time.Now()); ok {
		t.Error("the zero sampler lets something through")
	}
}

// TestSamplerClockBack: a clock that is set back opens one more second, not more.
func TestSamplerClockBack(t *testing.T) {
	s := sampler{most: 1}
	now := time.Unix(1_800_000_000, 0)
	s.pass("a", now)
	if _, ok := s.pass("a", now.Add(-time.Hour)); !ok {
		t.Error("an hour back is another second")
	}
	if _, ok := s.pass("a", now.Add(-time.Hour)); ok {
		t.Error("two in the same second")
	}
}

func TestSamplerFromManyGoroutines(t *testing.T) {
	s := sampler{most: 10}
	now := time.Unix(1_800_000_000, 0)
	var wg sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if _, ok := s.pass("a", now); ok {
					mu.Lock()
					passed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if passed != 10 || s.rest() != 790 {
		t.Errorf("%d passed", passed)
	}
}
