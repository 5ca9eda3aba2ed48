package upstream

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	cfg := Config{}.withDefaults().Breaker
	now := time.Now()
	b := &breaker{cfg: cfg}
	pass := func(o outcome) bool {
		probe, ok := b.admit(now)
		if ok {
			b.record(o, probe, now)
		}
		return ok
	}
	for range cfg.MinRequests - 1 {
		pass(bad)
	}
	if b.word() != "closed" {
		t.Error("open before there were enough requests")
	}
	now = now.Add(cfg.Window)
	for i := range 100 {
		pass([]outcome{good, good, bad, unknown}[i%4])
	}
	if b.word() != "closed" {
		t.Error("open below the rate")
	}
	for range 100 {
		pass(bad)
	}
	if b.word() != "open" || b.ready(now) || pass(good) {
		t.Error("not open above the rate")
	}
	now = now.Add(cfg.OpenFor)
	var probes []bool
	for b.ready(now) {
		probe, ok := b.admit(now)
		if !ok {
			t.Fatal("ready but not admitted")
		}
		probes = append(probes, probe)
	}
	if len(probes) != cfg.Probes || b.word() != "half_open" {
		t.Errorf("%d probes, %s", len(probes), b.word())
	}
	b.record(bad, false, now) // began before the circuit opened
	b.record(good, probes[0], now)
	b.record(bad, probes[1], now)
	if b.word() != "open" {
		t.Error("a failed probe did not open the circuit again")
	}
	b.record(good, probes[2], now)
	now = now.Add(cfg.OpenFor)
	for range cfg.Probes {
		if !pass(good) {
			t.Error("no probe")
		}
	}
	if b.word() != "closed" {
		t.Error("good probes did not close the circuit")
	}
}

func TestEjector(t *testing.T) {
	cfg := Config{}.withDefaults().Health
	start := time.Now()
	now := start
	e := &ejector{cfg: cfg}
	e.clean.Store(true)
	fail := func(n int) {
		for range n {
			e.record(bad, now, now)
		}
	}
	fail(cfg.EjectAfter - 1)
	e.record(good, now, now)
	fail(cfg.EjectAfter - 1)
	if !e.ready(now) {
		t.Error("ejected although a good one came between")
	}
	fail(1)
	if e.ready(now) || !e.out(now) {
		t.Error("not ejected")
	}
	e.record(good, start.Add(-time.Second), now)
	if e.ready(now) {
		t.Error("old news brought it back")
	}
	length := cfg.EjectFor
	for range 10 {
		if now = now.Add(length - 1); e.ready(now) {
			t.Errorf("back before %s", length)
		}
		now = now.Add(1)
		probe, ok := e.admit(now)
		if !ok || !probe {
			t.Fatalf("no probation after %s", length)
		}
		if e.ready(now) {
			t.Error("two requests during probation")
		}
		fail(1)
		e.release(probe)
		length = min(2*length, cfg.EjectMax)
	}
	now = now.Add(length)
	e.record(good, now, now)
	if !e.ready(now) || !e.clean.Load() {
		t.Error("a good request did not bring it back")
	}
}

// An open circuit answers at once, and closes when the server is well again.
func TestBreakerOfAPool(t *testing.T) {
	f := newFaulty(t)
	f.mode.Store("503")
	cfg := calm()
	cfg.Breaker = Breaker{OpenFor: 50 * time.Millisecond, MinRequests: 10}
	p := pool(t, cfg, Deps{}, f.url())
	for range 10 {
		if status, _, _, err := send(p, get(t, "/"), idempotent); status != 503 || err != nil {
			t.Fatal(status, err)
		}
	}
	if _, _, report, err := send(p, get(t, "/"), idempotent); reasonOf(err) != ReasonBreakerOpen || report.Attempts != 0 {
		t.Fatal(err)
	}
	if n := f.count.Load(); n != 10 {
		t.Errorf("%d requests reached the server", n)
	}
	f.mode.Store("good")
	time.Sleep(60 * time.Millisecond)
	for range 10 {
		if status, _, _, err := send(p, get(t, "/"), idempotent); status != 200 || err != nil {
			t.Fatal(status, err)
		}
	}
	if s := p.State()[0]; s.Breaker != "closed" || !s.Healthy {
		t.Errorf("%+v", s)
	}
}
