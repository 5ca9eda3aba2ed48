package keys

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func find(r *Ring, p *provider, id string) error {
	found, set, err := r.Find(context.Background(), p.now(), id, jose.ES256)
	if err == nil && (len(found) == 0 || set == nil) {
		return errors.New("found nothing without an error")
	}
	if err != nil && (found != nil || set != nil) {
		return errors.New("an error with keys")
	}
	return err
}

// E5: a key that the set doesn't have is asked for once, then no more than every thirty seconds.
func TestRotation(t *testing.T) {
	one, two := ec(t, elliptic.P256()), ec(t, elliptic.P256())
	p := newProvider(t, jwks(jwk(t, one.Public(), "one", "", "")))
	s, _ := p.source(t)
	r, err := s.Open(p.origin())
	if err != nil {
		t.Fatal(err)
	}
	if err := find(r, p, "one"); err != nil {
		t.Fatal(err) // waits for the first fetch
	}
	if err := find(r, p, "two"); !errors.Is(err, ErrUnknown) || p.count() != 2 {
		t.Fatalf("unknown key: %v after %d fetches", err, p.count())
	}
	p.set(func(p *provider) { p.keys = jwks(jwk(t, two.Public(), "two", "", "")) })
	for i := range 1000 {
		if err := find(r, p, fmt.Sprint("guess", i)); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
	}
	if p.count() != 2 {
		t.Fatalf("a thousand guesses caused %d fetches", p.count()-2)
	}
	p.pass(between)
	if err := find(r, p, "two"); err != nil {
		t.Errorf("after rotation: %v", err)
	}
	if err := find(r, p, "one"); !errors.Is(err, ErrUnknown) {
		t.Errorf("the withdrawn key: %v", err)
	}
	if err := find(r, p, ""); err != nil {
		t.Errorf("without id, one key: %v", err)
	}
}

// A known id with an algorithm that doesn't fit is no reason to fetch.
func TestKnownKeyOfAnotherType(t *testing.T) {
	p := newProvider(t, jwks(jwk(t, ec(t, elliptic.P256()).Public(), "one", "", "")))
	s, _ := p.source(t)
	r, _ := s.Open(p.origin())
	if err := find(r, p, "one"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Find(context.Background(), p.now(), "one", jose.RS256); !errors.Is(err, ErrUnknown) || p.count() != 1 {
		t.Errorf("%v after %d fetches", err, p.count())
	}
}

func TestManyUnknownKeysAtOnce(t *testing.T) {
	p := newProvider(t, jwks(jwk(t, ec(t, elliptic.P256()).Public(), "one", "", "")))
	s, _ := p.source(t)
	r, _ := s.Open(p.origin())
	if err := find(r, p, "one"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if err := find(r, p, fmt.Sprint(i)); !errors.Is(err, ErrUnknown) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if p.count() != 2 {
		t.Errorf("%d fetches", p.count())
	}
}

// E3, I6, I7: keys that can't be fetched never open, are tried again without being asked for, and then serve.
func TestUnavailableThenRecovered(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"error":     func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) },
		"garbage":   func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") },
		"empty set": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"closed":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, jwks(jwk(t, ec(t, elliptic.P256()).Public(), "one", "", "")))
			p.answer = answer
			s, told := p.source(t)
			o := p.origin()
			o.URL = "https://example.com/keys"
			r, err := s.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			until(t, told, false)
			if err := find(r, p, "one"); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("without keys: %v", err)
			}
			if r.Current(p.now()) != nil {
				t.Fatal("there is a set")
			}
			p.set(func(p *provider) { p.answer = nil })
			if st := until(t, told, true); st.Keys != 1 || st.Issuer != o.Issuer {
				t.Errorf("status %+v", st)
			}
			if err := find(r, p, "one"); err != nil {
				t.Errorf("after recovery: %v", err)
			}
		})
	}
}

// I5: the last good keys serve while the provider is away, but not for ever.
func TestLastGoodKeysGrowStale(t *testing.T) {
	p := newProvider(t, jwks(jwk(t, ec(t, elliptic.P256()).Public(), "one", "", "")))
	s, told := p.source(t)
	r, _ := s.Open(p.origin())
	until(t, told, true)
	set := r.Current(p.now())
	p.pass(fresh + time.Second)
	ask := func() error { return find(r, p, "one") }
	until(t, told, true, ask)
	if r.Current(p.now()) != set {
		t.Error("the same keys, fetched again, are another set")
	}
	p.set(func(p *provider) {
		p.answer = func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"keys":[]}`) }
	})
	p.pass(stale - time.Second)
	if err := find(r, p, "one"); err != nil {
		t.Errorf("a second before the end: %v", err)
	}
	until(t, told, false, ask)
	p.pass(2 * time.Second)
	if err := find(r, p, "one"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// A request doesn't wait for a provider that hangs, except a little for the very first answer.
func TestHangingProviderDoesNotHoldRequests(t *testing.T) {
	p := newProvider(t, nil)
	p.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s, _ := p.source(t)
	r, _ := s.Open(p.origin())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, _, err := r.Find(ctx, p.now(), "one", jose.ES256); !errors.Is(err, ErrUnavailable) || time.Since(began) > time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestRingOutlivesReload(t *testing.T) {
	p := newProvider(t, jwks(jwk(t, ec(t, elliptic.P256()).Public(), "one", "", "")))
	s, told := p.source(t)
	first, _ := s.Open(p.origin())
	until(t, told, true)
	again, err := s.Open(p.origin())
	if err != nil || first != again || p.count() != 1 {
		t.Errorf("%v, the same ring: %t, %d fetches", err, first == again, p.count())
	}
	other := p.origin()
	other.Private = true
	if third, _ := s.Open(other); third == first {
		t.Error("another origin shares the ring")
	}
	if len(s.Statuses()) != 2 {
		t.Error(s.Statuses())
	}
}

// I5: a file is read at once, and a bad one is refused at once.
func TestKeysInFile(t *testing.T) {
	p := newProvider(t, nil)
	s, _ := p.source(t)
	name := filepath.Join(t.TempDir(), "keys.json")
	o := Origin{Issuer: "https://example.com", File: name}
	for _, content := range []string{"", "{}", `{"keys":[]}`, "garbage", `{"keys":[{"kty":"oct","k":"AAAA"}]}`} {
		if content != "" {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := s.Open(o); err == nil {
			t.Errorf("%q is accepted: %v", content, r)
		}
	}
	write := func(id string) {
		if err := os.WriteFile(name, jwks(jwk(t, ec(t, elliptic.P256()).Public(), id, "", "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	r, err := s.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := find(r, p, "one"); err != nil {
		t.Error(err)
	}
	write("two")
	if err := find(r, p, "two"); err != nil {
		t.Errorf("the changed file: %v", err)
	}
}

func TestWrongUses(t *testing.T) {
	p := newProvider(t, nil)
	s, _ := p.source(t)
	for _, ca := range []string{"garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := s.Open(Origin{Issuer: "https://example.com", CA: ca}); err == nil {
			t.Errorf("CA %q is accepted", ca)
		}
	}
	if Fixed(nil).Current(time.Now()) != nil {
		t.Error("a ring of nothing has a set")
	}
	if _, _, err := Fixed(nil).Find(context.Background(), time.Now(), "", jose.ES256); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	offline := NewSource(p.now, Offline(), nil)
	defer offline.Close()
	if r, err := offline.Open(p.origin()); err != nil || !errors.Is(find(r, p, "one"), ErrUnavailable) {
		t.Errorf("offline: %v", err)
	}
	s.Close()
	r, err := s.Open(p.origin())
	if err != nil {
		t.Fatal(err)
	}
	if err := find(r, p, "one"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}
