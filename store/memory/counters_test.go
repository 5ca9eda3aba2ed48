package memory

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestANumberCountsUntilItsTime(t *testing.T) {
	now := time.Unix(1000, 0)
	c := NewCounters(100, func() time.Time { return now })
	later := now.Add(time.Minute).UnixNano()
	if v, _, _ := c.GetWithTime(t.Context(), "a"); v != -1 {
		t.Fatalf("unknown key: %d", v)
	}
	if set, _ := c.SetIfNotExistsWithTTL(t.Context(), "a", later, 0); !set {
		t.Fatal("not set")
	}
	if set, _ := c.SetIfNotExistsWithTTL(t.Context(), "a", later+1, 0); set {
		t.Fatal("set twice")
	}
	if swapped, _ := c.CompareAndSwapWithTTL(t.Context(), "a", later+1, later+2, 0); swapped {
		t.Fatal("swapped a number that is not there")
	}
	if swapped, _ := c.CompareAndSwapWithTTL(t.Context(), "a", later, later+2, 0); !swapped {
		t.Fatal("not swapped")
	}
	if v, at, _ := c.GetWithTime(t.Context(), "a"); v != later+2 || !at.Equal(now) {
		t.Fatalf("%d at %v", v, at)
	}
	now = now.Add(time.Hour)
	if v, _, _ := c.GetWithTime(t.Context(), "a"); v != -1 {
		t.Fatalf("a number whose time has passed still counts: %d", v)
	}
	if set, _ := c.SetIfNotExistsWithTTL(t.Context(), "a", now.Add(1).UnixNano(), 0); !set {
		t.Fatal("a number whose time has passed cannot be replaced")
	}
}

// H8: a million addresses stay within 64 MiB, and do not push out the one that calls all the time.
func TestAMillionAddressesAreBounded(t *testing.T) {
	now := time.Now()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := NewCounters(1<<18, func() time.Time { return now })
	heavy := now.Add(time.Hour).UnixNano()
	_, _ = c.SetIfNotExistsWithTTL(t.Context(), "heavy", heavy, 0)
	for i := range 1_000_000 {
		_, _ = c.SetIfNotExistsWithTTL(t.Context(), fmt.Sprint(i), now.Add(time.Second).UnixNano(), 0)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := c.Len(); n > 1<<18 {
		t.Errorf("%d keys, want at most %d", n, 1<<18)
	}
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 64<<20 {
		t.Errorf("%d MiB used", used>>20)
	}
	if v, _, _ := c.GetWithTime(t.Context(), "heavy"); v != heavy {
		t.Error("the heavy caller was forgotten")
	}
	runtime.KeepAlive(c)
}

func TestManyAtOnce(t *testing.T) {
	c := NewCounters(1000, time.Now)
	end := time.Now().Add(time.Hour).UnixNano()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 64 {
		wg.Go(func() {
			for i := range 100 {
				if set, _ := c.SetIfNotExistsWithTTL(t.Context(), fmt.Sprint(i), end, 0); set {
					mu.Lock()
					won++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if won != 100 {
		t.Fatalf("%d first ones, want 100", won)
	}
}
