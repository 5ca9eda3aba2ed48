package identity_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
)

// list is Revocations as a test wants them.
type list struct {
	revoked func(issuer, subject, id string, issued time.Time) (bool, error)
	watched []string
	stopped int
}

func (l *list) Revoked(issuer, subject, id string, issued time.Time) (bool, error) {
	return l.revoked(issuer, subject, id, issued)
}

func (l *list) Watch(issuer, subject, id string, issued time.Time, ended func()) func() {
	l.watched = append(l.watched, issuer+" "+subject+" "+id+" "+issued.UTC().Format(time.RFC3339))
	ended()
	return func() { l.stopped++ }
}

// shown is a memory of tokens.
type shown struct {
	mu    sync.Mutex
	keys  map[string]time.Time
	err   error
	hangs bool
	since time.Time
}

func (s *shown) First(ctx context.Context, key string, until time.Time) (bool, error) {
	if s.hangs {
		<-ctx.Done()
		return true, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return true, s.err
	}
	if _, there := s.keys[key]; there {
		return false, nil
	}
	s.keys[key] = until
	return true, nil
}

func (s *shown) Since() time.Time { return s.since }

func recallable(t *testing.T, change func(*identity.Config, *identity.Tools)) (*identity.Guard, *dev.Issuer) {
	t.Helper()
	issuer, err := dev.Open(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := identity.Config{Development: gate.Risk{AcceptRisk: "a test"}}
	tools := identity.Tools{Now: noon, Dev: issuer, Verified: bearer.NewCache(0), Policy: "1"}
	change(&cfg, &tools)
	g, err := identity.New(cfg, shop(), tools)
	if err != nil {
		t.Fatal(err)
	}
	return g, issuer
}

func TestRevoked(t *testing.T) {
	var yes bool
	var unknown error
	var asked string
	l := &list{revoked: func(issuer, subject, id string, issued time.Time) (bool, error) {
		asked = issuer + " " + subject + " " + id + " " + issued.UTC().Format(time.RFC3339)
		return yes, unknown
	}}
	g, issuer := recallable(t, func(_ *identity.Config, tools *identity.Tools) { tools.Revocations, tools.Longest = l, time.Hour })
	token, err := issuer.Token("alice", nil, nil, noon(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		yes       bool
		unknown   error
		reason    gate.Reason
		code      gate.Code
		challenge bool
	}{
		{name: "not called back"},
		{"called back", true, nil, identity.Revoked, gate.NoIdentity, true},
		{"called back, and the list is old", true, errors.New("old"), identity.Revoked, gate.NoIdentity, true},
		{"I7 not known", false, errors.New("old"), identity.RevocationsUnknown, gate.Unavailable, false},
		{name: "not called back any more"},
	} {
		yes, unknown = c.yes, c.unknown
		for _, op := range []*gate.Operation{private, public} { // from the cache from the second time on
			x := exchange(op, "Bearer "+token)
			v := g.Check(context.Background(), x)
			if v.Allowed() != (c.reason == "") || v.Reason != c.reason || v.Code != c.code || v.Allowed() == (x.Principal() == nil) {
				t.Errorf("%s: %+v", c.name, v)
			}
			if got := v.Header.Get("WWW-Authenticate"); c.challenge && got != `Bearer realm="or\"ders", error="invalid_token"` || !c.challenge && got != "" {
				t.Errorf("%s: challenge %q", c.name, got)
			}
			if !strings.HasPrefix(asked, dev.Name+" alice ") || !strings.HasSuffix(asked, " 2026-11-22T12:00:00Z") || len(asked) < 60 {
				t.Errorf("asked about %q", asked)
			}
		}
	}
	// One who shows nothing is nobody who could be called back.
	yes = true
	if v := g.Check(context.Background(), exchange(public)); !v.Allowed() {
		t.Errorf("%+v", v)
	}

	yes = false
	g, issuer = recallable(t, func(_ *identity.Config, tools *identity.Tools) { tools.Revocations, tools.Longest = l, time.Minute })
	long, _ := issuer.Token("alice", nil, nil, noon(), 0)
	if v := g.Check(context.Background(), exchange(private, "Bearer "+long)); v.Reason != identity.LongLived || v.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("a token that lives longer than revocations are remembered: %+v", v)
	}
}

// E23: a token that was verified before is asked about too, and asking costs no allocation.
func TestAskingAllocatesNothing(t *testing.T) {
	measure := func(l identity.Revocations) float64 {
		g, issuer := recallable(t, func(_ *identity.Config, tools *identity.Tools) { tools.Revocations = l })
		token, err := issuer.Token("alice", nil, nil, noon(), 0)
		if err != nil {
			t.Fatal(err)
		}
		fields := http.Header{"Authorization": {"Bearer " + token}}
		return testing.AllocsPerRun(1000, func() {
			x := exchange(private)
			x.Request.Fields = fields
			if v := g.Check(context.Background(), x); !v.Allowed() {
				t.Fatal(v)
			}
		})
	}
	with, without := measure(&list{revoked: func(string, string, string, time.Time) (bool, error) { return false, nil }}), measure(nil)
	if with != without {
		t.Errorf("%v allocations instead of %v", with, without)
	}
}

func TestWatch(t *testing.T) {
	l, ended := &list{}, 0
	tools := identity.Tools{Revocations: l}
	p := &gate.Principal{Issuer: "a", Subject: "b", Token: "c"}
	stop := tools.Watch(p, func() { ended++ })
	stop()
	tools.Watch(nil, func() { ended++ })()
	identity.Tools{}.Watch(p, func() { ended++ })()
	if ended != 1 || l.stopped != 1 || len(l.watched) != 1 || l.watched[0] != "a b c 0001-01-01T00:00:00Z" {
		t.Errorf("%d %+v", ended, l)
	}
}

func TestSingleUse(t *testing.T) {
	memory := &shown{keys: map[string]time.Time{}}
	build := func() (*identity.Guard, *dev.Issuer) {
		return recallable(t, func(cfg *identity.Config, tools *identity.Tools) { cfg.SingleUse, tools.Once = true, memory })
	}
	g, issuer := build()
	token := func() string {
		s, err := issuer.Token("alice", nil, nil, noon(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	check := func(token string, want gate.Reason) {
		t.Helper()
		x := exchange(private, "Bearer "+token)
		v := g.Check(context.Background(), x)
		if v.Reason != want || v.Allowed() != (want == "") || v.Allowed() == (x.Principal() == nil) {
			t.Errorf("%+v", v)
		}
		if (v.Code == gate.NoIdentity) != (v.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("challenge of %+v", v)
		}
	}
	one, two := token(), token()
	check(one, "")
	check(one, identity.Replayed)
	check(two, "")
	check(one, identity.Replayed)
	for key, until := range memory.keys {
		if strings.Contains(key, "alice") || len(key) > 60 || until.Before(noon().Add(dev.Life)) {
			t.Errorf("remembered as %q until %s", key, until)
		}
	}
	// I7: not known is closed, at once.
	memory.err = errors.New("gone")
	check(token(), identity.ReplayUnknown)
	memory.err, memory.hangs = nil, true
	began := time.Now()
	check(token(), identity.ReplayUnknown)
	if d := time.Since(began); d > time.Second {
		t.Error("waited", d)
	}
	memory.hangs = false
	// A memory that began anew does not know what was shown before.
	memory.since = noon().Add(time.Second)
	check(token(), identity.ReplayForgotten)
	memory.since = noon()
	check(token(), "")
	// 50 at once: one.
	same, wins := token(), 0
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 50 {
		all.Go(func() {
			if v := g.Check(context.Background(), exchange(private, "Bearer "+same)); v.Allowed() {
				mu.Lock()
				wins++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if wins != 1 {
		t.Errorf("%d of 50 were first", wins)
	}
}

func TestSingleUseNeedsAMemory(t *testing.T) {
	issuer, err := dev.Open(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, err = identity.New(identity.Config{SingleUse: true, Development: gate.Risk{AcceptRisk: "a test"}}, shop(), identity.Tools{Now: noon, Dev: issuer})
	if err == nil || !strings.Contains(err.Error(), "single_use") {
		t.Error(err)
	}
}

// An issuer's clock may be ahead: what it issued "after" our memory began may have been shown before.
func TestTheIssuersClockMayBeAhead(t *testing.T) {
	issuer, err := dev.Open(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	memory := &shown{keys: map[string]time.Time{}}
	for _, skew := range []time.Duration{0, 10 * time.Second} {
		given := bearer.Given(dev.Name, dev.Audience, issuer.Ring())
		given.ClockSkew = skew
		effective := skew
		if skew == 0 {
			effective = bearer.DefaultSkew
		}
		g, err := identity.New(identity.Config{SingleUse: true, Issuers: []bearer.Issuer{given}}, shop(), identity.Tools{Now: noon, Once: memory})
		if err != nil {
			t.Fatal(err)
		}
		for before, want := range map[time.Duration]gate.Reason{effective - time.Second: identity.ReplayForgotten, effective: ""} {
			memory.since = noon().Add(-before)
			token, _ := issuer.Token("alice", nil, nil, noon(), 0)
			if v := g.Check(context.Background(), exchange(private, "Bearer "+token)); v.Reason != want {
				t.Errorf("memory of %s, skew %s: %+v", before, skew, v)
			}
		}
	}
}
