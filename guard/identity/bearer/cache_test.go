package bearer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/go-jose/go-jose/v4"
)

func (c *Cache) size() (entries, used int) {
	for i := range c.shard {
		entries += len(c.shard[i].entries)
		used += c.shard[i].used
	}
	return entries, used
}

// clocked is a reader whose clock a test can set, trusting the smith.
func (s *smith) clocked(t testing.TB, cache *Cache, now *time.Time, api, policy string, c Issuer) *Reader {
	t.Helper()
	if c.ring = s.ring; c.Issuer == "" {
		c.Issuer, c.Audience = shopIssuer, Names{shopAudience}
	}
	r, err := New([]Issuer{c}, Tools{Now: func() time.Time { return *now }, API: api, Policy: policy, Verified: cache})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCacheRemembersOnlyWhatHolds(t *testing.T) {
	s, now, cache := newSmith(t), noon(), NewCache(0)
	r := s.clocked(t, cache, &now, "orders", "1", Issuer{})
	good := forge(t, s.ec, ecHeader, claims(map[string]any{"nbf": now.Unix()}))
	for _, bad := range []string{good[:len(good)-2], forge(t, s.ec, ecHeader, claims(map[string]any{"aud": "x"})), "a.b.c", ""} {
		for range 2 {
			if p, _, v := read(r, bad); p != nil || v.Allowed() {
				t.Fatal("allowed")
			}
		}
	}
	if n, _ := cache.size(); n != 0 {
		t.Fatalf("%d refusals are remembered", n)
	}
	first, _, _ := read(r, good)
	second, _, _ := read(r, good)
	if first == nil || first != second {
		t.Error("the token is not remembered")
	}
	// E25: a part of a remembered token is not the token.
	for cut := 1; cut < len(good); cut += 7 {
		if p, _, v := read(r, good[:len(good)-cut]); p != nil || v.Allowed() {
			t.Fatalf("the token without its last %d bytes is accepted", cut)
		}
	}
	for at, reason := range map[time.Duration]gate.Reason{
		329 * time.Second: "", 330 * time.Second: Expired, 24 * time.Hour: Expired, -30 * time.Second: "", -31 * time.Second: NotYet, 0: "",
	} {
		now = noon().Add(at)
		expect(t, r, good, reason)
	}
}

// E23: neither another API nor another policy, issuer list or setting shares what was verified.
func TestCacheIsNotSharedAcrossPolicies(t *testing.T) {
	s, now, cache := newSmith(t), noon(), NewCache(0)
	token := forge(t, s.ec, ecHeader, claims(nil))
	expect(t, s.clocked(t, cache, &now, "orders", "1", Issuer{}), token, "")
	settings := func(change func(*Issuer)) Issuer {
		c := Issuer{Issuer: shopIssuer, Audience: Names{shopAudience}}
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		r      *Reader
		reason gate.Reason
	}{
		"other API":       {s.clocked(t, cache, &now, "payments", "1", settings(func(c *Issuer) { c.Audience = Names{"payments"} })), WrongAudience},
		"other audience":  {s.clocked(t, cache, &now, "orders", "1", settings(func(c *Issuer) { c.Audience = Names{"x"} })), WrongAudience},
		"other algorithm": {s.clocked(t, cache, &now, "orders", "1", settings(func(c *Issuer) { c.Algorithms = []string{"RS256"} })), Algorithm},
		"other typ":       {s.clocked(t, cache, &now, "orders", "1", settings(func(c *Issuer) { c.Kinds = []string{"JWT"} })), Type},
		"other issuer":    {s.clocked(t, cache, &now, "orders", "1", settings(func(c *Issuer) { c.Issuer = "https://x.example.com" })), UnknownIssuer},
		"other keys":      {newSmith(t).clocked(t, NewCache(0), &now, "orders", "1", Issuer{}), Signature},
	} {
		t.Run(name, func(t *testing.T) { expect(t, c.r, token, c.reason) })
	}
	before, _ := cache.size()
	expect(t, s.clocked(t, cache, &now, "orders", "2", Issuer{}), token, "")
	if after, _ := cache.size(); after != before+1 {
		t.Errorf("another policy version shares the entry: %d, then %d", before, after)
	}
}

// E23: where one part ends and the next begins can't be moved.
func TestScopesDoNotCollide(t *testing.T) {
	seen := map[[32]byte]string{}
	parts := []string{"", "a", "b", "ab", "a|b", "|", "\x00", "a\x00", "\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x00\x00\x00\x01a"}
	for _, a := range parts {
		for _, b := range parts {
			for _, list := range [][]string{{a, b}, {a, b, ""}, {"", a, b}, {a, "", b}} {
				name, digest := fmt.Sprintf("%q", list), scopeOf(list...)
				if other, twice := seen[digest]; twice && other != name {
					t.Fatalf("%s and %s are one", name, other)
				}
				seen[digest] = name
			}
		}
	}
}

// A key that the issuer has withdrawn ends what was verified with it.
func TestCacheEndsWithTheKeys(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	name, cache := filepath.Join(t.TempDir(), "keys.json"), NewCache(0)
	write := func(k *ecdsa.PrivateKey) {
		data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: "ec"}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(key)
	source := keys.NewSource(noon, keys.System(), nil)
	defer source.Close()
	load := func() *Reader {
		r, err := New([]Issuer{{Issuer: shopIssuer, Audience: Names{shopAudience}, Keys: name}}, Tools{Now: noon, Keys: source, Verified: cache})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := load()
	token := forge(t, key, ecHeader, claims(nil))
	expect(t, r, token, "")
	expect(t, r, token, "")
	write(other)
	load() // a reload reads the file again; the ring is the same
	expect(t, r, token, Signature)
}

func TestCacheIsBounded(t *testing.T) {
	const bound = 256 * unit.KiB
	cache, ring := NewCache(bound), keys.Fixed(newSmithSet(t))
	set := ring.Current(noon())
	put := func(i int, until time.Time, claims map[string]any) cacheKey {
		k := keyOf([32]byte{}, fmt.Sprint("token", i))
		cache.put(k, &entry{principal: &gate.Principal{Subject: fmt.Sprint(i), Claims: claims}, ring: ring, set: set, until: until}, noon())
		return k
	}
	for i := range 10000 {
		k := put(i, noon().Add(time.Hour), map[string]any{"sub": strings.Repeat("x", i%500)})
		if cache.get(k, noon()) == nil {
			t.Fatalf("entry %d was forgotten at once", i)
		}
	}
	entries, used := cache.size()
	if used > int(bound) || entries < 100 {
		t.Errorf("%d entries, %d bytes of %d", entries, used, bound)
	}
	for i := range 20 {
		put(0, noon().Add(time.Duration(i)*time.Second), nil) // the same one again and again
	}
	sum := 0
	for i := range cache.shard {
		for _, e := range cache.shard[i].entries {
			sum += e.cost
		}
	}
	if _, used := cache.size(); sum != used {
		t.Errorf("the account says %d, the entries %d", used, sum)
	}
	if k := put(-1, noon().Add(time.Hour), map[string]any{"x": strings.Repeat("x", int(bound))}); cache.get(k, noon()) != nil {
		t.Error("one entry that fills the cache is remembered")
	}
}

func newSmithSet(t *testing.T) *keys.Set {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, jose.JSONWebKey{Key: key.Public()})
}

// E24: ten thousand callers at once, and each is who they are.
func TestManyCallersAtOnce(t *testing.T) {
	s := newSmith(t)
	r := s.reader(t, Issuer{}, NewCache(unit.MiB)) // small enough that entries are forgotten meanwhile
	tokens := make([]string, 100)
	for i := range tokens {
		tokens[i] = forge(t, s.ec, ecHeader, claims(map[string]any{"sub": fmt.Sprint("caller", i)}))
	}
	var all sync.WaitGroup
	for i := range 10000 {
		all.Go(func() {
			want := fmt.Sprint("caller", i%len(tokens))
			if p, _, v := read(r, tokens[i%len(tokens)]); !v.Allowed() || p.Subject != want {
				t.Errorf("%s is %v: %s", want, p, v.Reason)
			}
		})
	}
	all.Wait()
}

func BenchmarkCached(b *testing.B) {
	s := newSmith(b)
	r := s.reader(b, Issuer{}, NewCache(0))
	x := exchangeWith(forge(b, s.rsa, `{"alg":"RS256","kid":"rsa","typ":"JWT"}`, claims(nil)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, v := r.Read(context.Background(), x); !v.Allowed() {
			b.Fatal(v.Reason)
		}
	}
}

func BenchmarkColdRS256(b *testing.B) {
	s := newSmith(b)
	benchmarkCold(b, s, forge(b, s.rsa, `{"alg":"RS256","kid":"rsa","typ":"JWT"}`, claims(nil)))
}

func BenchmarkColdES256(b *testing.B) {
	s := newSmith(b)
	benchmarkCold(b, s, forge(b, s.ec, ecHeader, claims(nil)))
}

func benchmarkCold(b *testing.B, s *smith, token string) {
	r := s.reader(b, Issuer{}, nil)
	x := exchangeWith(token)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, v := r.Read(context.Background(), x); !v.Allowed() {
			b.Fatal(v.Reason)
		}
	}
}

func exchangeWith(token string) *gate.Exchange {
	return exchangeOf(http.Header{"Authorization": {"Bearer " + token}})
}
