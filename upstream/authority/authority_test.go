package authority_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
	"github.com/gatehouse-sec/gatehouse/upstream/authority"
)

var ctx = context.Background()

// place is a record in memory, as a store would keep it.
type place struct {
	mu      sync.Mutex
	value   []byte
	version int64
	gets    int
	err     error
}

func (p *place) Get(context.Context) ([]byte, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gets++
	if p.err != nil {
		return nil, 0, p.err
	}
	if p.version == 0 {
		return nil, 0, authority.ErrNone
	}
	return p.value, p.version, nil
}

func (p *place) Put(_ context.Context, value []byte, version int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if version != p.version {
		return authority.ErrConflict
	}
	p.value, p.version = value, version+1
	return nil
}

// clock can be set.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) forward(d time.Duration) { c.at.Add(int64(d / time.Second)) }
func newClock() *clock                   { c := &clock{}; c.at.Store(time.Now().Unix()); return c }
func deps(p *place, c *clock) authority.Deps {
	return authority.Deps{Place: p, Domain: "3f2a.gatehouse.internal", Now: c.now, Rand: rand.Reader}
}

func open(t testing.TB, p *place, c *clock) *authority.Authority {
	t.Helper()
	a, err := authority.Open(ctx, deps(p, c))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func client(t testing.TB, a *authority.Authority) *tls.Certificate {
	t.Helper()
	c, err := a.Client("gateway").ClientCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trusts tells that a server which was told of the bundle would let the certificate in.
func trusts(bundle []byte, c *tls.Certificate, now time.Time) bool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

func count(bundle []byte) (n int) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		n++
	}
	return n
}

// Two years in steps of six hours. Servers look at the bundle once in three weeks only, and never refuse the gateway.
func TestTwoYearsWithoutARefusal(t *testing.T) {
	p, c := &place{}, newClock()
	a, other := open(t, p, c), open(t, p, c)
	told, toldAt := a.Bundle(), c.now()
	signers, leaves, successions := map[string]bool{}, map[string]bool{}, 0
	for step := range 2 * 365 * 4 {
		for _, node := range []*authority.Authority{a, other} {
			if step%4 == 0 {
				if err := node.Refresh(ctx); err != nil {
					t.Fatal(err)
				}
			}
			shown := client(t, node)
			if !trusts(told, shown, c.now()) {
				t.Fatalf("step %d: a server that was told %v ago refuses", step, c.now().Sub(toldAt))
			}
			if left := shown.Leaf.NotAfter.Sub(c.now()); left <= 8*time.Hour || left > 24*time.Hour {
				t.Fatalf("step %d: %v left", step, left)
			}
			signers[string(shown.Leaf.AuthorityKeyId)+shown.Leaf.Issuer.String()] = true
			leaves[shown.Leaf.SerialNumber.String()] = true
		}
		if step%4 == 0 && string(a.Bundle()) != string(other.Bundle()) {
			t.Fatal("nodes tell different bundles")
		}
		if n := count(a.Bundle()); n > 2 {
			t.Fatalf("%d authorities at once", n)
		} else if n == 2 {
			successions++
		}
		if c.now().Sub(toldAt) > 21*24*time.Hour {
			told, toldAt = a.Bundle(), c.now()
		}
		c.forward(6 * time.Hour)
	}
	if len(signers) < 3 || len(leaves) < 2*2*365*2/3 || successions == 0 {
		t.Errorf("%d authorities signed, %d certificates, %d steps with two authorities", len(signers), len(leaves), successions)
	}
}

func TestNodesThatStartAtOnceShareOne(t *testing.T) {
	p, c := &place{}, newClock()
	var all [8]*authority.Authority
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() { all[i], _ = authority.Open(ctx, deps(p, c)) })
	}
	wait.Wait()
	for i, a := range all {
		if a == nil || string(a.Bundle()) != string(all[0].Bundle()) || count(a.Bundle()) != 1 {
			t.Errorf("node %d has another authority", i)
		}
	}
	if p.version != 1 {
		t.Errorf("%d writes", p.version)
	}
}

// What is there and cannot be read is never replaced, and neither is what was there and is gone.
func TestNothingIsMadeOverARecord(t *testing.T) {
	c := newClock()
	good := &place{}
	open(t, good, c)
	for name, value := range map[string][]byte{
		"nothing": {}, "garbage": []byte("garbage"), "half": good.value[:len(good.value)/2], "a newer form": []byte(strings.Replace(string(good.value), "authority/1", "authority/2", 1)),
		"no members": []byte(`{"format":"gatehouse.authority/1","members":[]}`), "no secret": []byte(`{"format":"gatehouse.authority/1","members":[{"signs":"2026-01-01T00:00:00Z"}]}`),
	} {
		p := &place{value: value, version: 3}
		_, err := authority.Open(ctx, deps(p, c))
		if err == nil || p.version != 3 || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v, version %d", name, err, p.version)
		}
	}
	a := open(t, good, c)
	before := a.Bundle()
	good.version = 0
	if err := a.Refresh(ctx); err == nil || good.version != 0 || string(a.Bundle()) != string(before) {
		t.Errorf("%v, version %d", err, good.version)
	}
}

// The store may be away for weeks: certificates are made from memory.
func TestTheStoreMayBeAway(t *testing.T) {
	p, c := &place{}, newClock()
	a := open(t, p, c)
	p.err = errors.New("store is away")
	gets := p.gets
	for range 100 {
		c.forward(24 * time.Hour)
		client(t, a)
	}
	if p.gets != gets {
		t.Errorf("the store was asked %d times for certificates", p.gets-gets)
	}
	if err := a.Refresh(ctx); err == nil || !strings.Contains(err.Error(), "store is away") {
		t.Error(err)
	}
	c.forward(300 * 24 * time.Hour)
	if _, err := a.Client("gateway").ClientCertificate(); err == nil {
		t.Error("an authority that has ended vouches")
	}
	p.err = nil
	if err := a.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if c := client(t, a); c.Leaf.DNSNames[0] != "gateway.3f2a.gatehouse.internal" {
		t.Error(c.Leaf.DNSNames)
	}
	if _, err := authority.Open(ctx, deps(&place{err: errors.New("away")}, c)); err == nil {
		t.Error("opened without a store")
	}
}

// A certificate is kept for sixteen hours, and made anew when a clock was set, in either direction.
func TestCertificatesAreKeptAndRenewed(t *testing.T) {
	c := newClock()
	a := open(t, &place{}, c)
	first := client(t, a)
	c.forward(15 * time.Hour)
	if client(t, a) != first {
		t.Error("made anew too early")
	}
	c.forward(2 * time.Hour)
	second := client(t, a)
	if second == first {
		t.Error("not made anew after two thirds of its life")
	}
	c.forward(-18*time.Hour - 5*time.Second)
	if _, err := a.Client("gateway").ClientCertificate(); err == nil {
		if third := client(t, a); third == second || third.Leaf.NotBefore.After(c.now()) {
			t.Error("a clock that was set back shows a certificate that has not begun")
		}
	}
	if same := a.Client("gateway"); same != a.Client("gateway") || same == a.Client("other") {
		t.Error("clients are told apart by name")
	}
	if _, err := a.Client("no name").ClientCertificate(); err == nil {
		t.Error("any name is taken")
	}
}

func TestRotateByHand(t *testing.T) {
	p, c := &place{}, newClock()
	a, other := open(t, p, c), open(t, p, c)
	first := client(t, a)
	if err := a.Rotate(ctx, 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	if count(a.Bundle()) != 2 || client(t, a) != first {
		t.Error("a successor signs before it was published for long enough")
	}
	if st := a.State(); len(st) != 2 || !st[0].Signing || st[1].Signing || len(st[0].Certificate.Findings) != 0 || !st[1].Signs.After(c.now()) {
		t.Errorf("%+v", st)
	}
	_ = other.Refresh(ctx)
	c.forward(47 * time.Hour)
	before := client(t, other)
	c.forward(2 * time.Hour)
	if after := client(t, other); after.Leaf.Issuer.String() == before.Leaf.Issuer.String() || !trusts(other.Bundle(), after, c.now()) || !trusts(other.Bundle(), before, c.now()) {
		t.Error("the successor does not sign on the other node when its time has come")
	}
	// A key that leaked: what it signed is trusted by nobody who reads the bundle again.
	leaked := client(t, a)
	if err := a.Rotate(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if count(a.Bundle()) != 1 || trusts(a.Bundle(), leaked, c.now()) || !trusts(a.Bundle(), client(t, a), c.now()) {
		t.Error("a leaked key is still trusted")
	}
	if a.Domain() != "3f2a.gatehouse.internal" {
		t.Error("servers know the gateway by another name now")
	}
}

// The bundle and what is told of authorities never hold a key.
func TestNoKeyIsTold(t *testing.T) {
	p, c := &place{}, newClock()
	a := open(t, p, c)
	if strings.Contains(string(a.Bundle()), "PRIVATE") {
		t.Error("the bundle holds a key")
	}
	if !strings.Contains(string(p.value), `"secret"`) {
		t.Fatal("the record is another")
	}
	for _, s := range a.State() {
		if len(s.Certificate.Findings) > 0 && s.Certificate.Findings[0].ID != ca.ExpiresSoon {
			t.Errorf("%+v", s)
		}
	}
}

func TestInMemory(t *testing.T) {
	p := authority.InMemory()
	if _, _, err := p.Get(ctx); !errors.Is(err, authority.ErrNone) {
		t.Error(err)
	}
	d := deps(nil, newClock())
	d.Place = p
	a, err := authority.Open(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	client(t, a)
	if err := p.Put(ctx, nil, 0); !errors.Is(err, authority.ErrConflict) {
		t.Error(err)
	}
	d.Domain = "no domain"
	d.Place = authority.InMemory()
	if _, err := authority.Open(ctx, d); err == nil {
		t.Error("an authority for no domain")
	}
}
