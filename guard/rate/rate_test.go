package rate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/store/memory"
)

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) time() time.Time { return c.now }

func quota(t *testing.T, text string) (q rate.Quota) {
	t.Helper()
	if err := q.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return q
}

func from(address string) *gate.Exchange {
	return &gate.Exchange{Source: gate.Source{Client: netip.MustParseAddr(address)}, Request: &canon.Request{Fields: http.Header{}}}
}

func arrivals(t *testing.T, c *clock, text string) *rate.Arrivals {
	t.Helper()
	g, err := rate.NewArrivals(rate.Config{PerAddress: quota(t, text)}, memory.NewCounters(10_000, c.time), c.time)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestBurstThenRate(t *testing.T) {
	c := &clock{time.Now()}
	g := arrivals(t, c, "2/s burst 5")
	count := func(n int) (passed int) {
		for range n {
			if g.Check(t.Context(), from("192.0.2.1")).Allowed() {
				passed++
			}
		}
		return passed
	}
	if n := count(20); n != 5 {
		t.Fatalf("%d of a burst passed, want 5", n)
	}
	c.now = c.now.Add(time.Second)
	if n := count(20); n != 2 {
		t.Fatalf("%d passed after a second, want 2", n)
	}
	c.now = c.now.Add(time.Hour)
	if n := count(20); n != 5 {
		t.Fatalf("%d passed after an hour, want 5", n)
	}
}

func TestTheDenialSaysWhenToComeBack(t *testing.T) {
	c := &clock{time.Now()}
	g := arrivals(t, c, "1/m burst 1")
	x := from("192.0.2.1")
	if !g.Check(t.Context(), x).Allowed() {
		t.Fatal("first request denied")
	}
	v := g.Check(t.Context(), x)
	if v.Code != gate.TooMany || v.Reason != rate.ReasonAddress || v.Header.Get("Retry-After") != "60" {
		t.Fatalf("%+v", v)
	}
	a := &gate.Answer{Fields: http.Header{"X-Ratelimit-Limit": {"9"}, "Ratelimit": {"server"}}}
	g.Review(t.Context(), x, a)
	if got := a.Fields.Get("RateLimit"); got != `"address";r=0;t=60` {
		t.Errorf("RateLimit %q", got)
	}
	if got := a.Fields.Get("RateLimit-Policy"); got != `"address";q=1;w=60` {
		t.Errorf("RateLimit-Policy %q", got)
	}
	if a.Fields.Get("X-RateLimit-Limit") != "" {
		t.Error("the server's own words on limits went through")
	}
}

// One subscriber is one IPv4 address, however it is written, or one IPv6 /64.
func TestWhoIsOne(t *testing.T) {
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		g := arrivals(t, &clock{time.Now()}, "1/h burst 1")
		g.Check(t.Context(), from(c.one))
		if denied := !g.Check(t.Context(), from(c.other)).Allowed(); denied != c.same {
			t.Errorf("%s and %s: counted together %v, want %v", c.one, c.other, denied, c.same)
		}
	}
}

func TestARefusedCredentialCountsTenTimes(t *testing.T) {
	for field, counts := range map[string]bool{"Authorization": true, "X-Shop-Key": true, "X-Other": false} {
		g := arrivals(t, &clock{time.Now()}, "10/h burst 20")
		x := from("192.0.2.1")
		x.API = &gate.API{Credentials: []string{"Authorization", "X-Shop-Key"}}
		x.Request.Fields.Set(field, "guess")
		passed := 0
		for range 20 {
			if g.Check(t.Context(), x).Allowed() {
				passed++
				g.Settle(x, gate.Outcome{Verdict: gate.Deny(gate.NoIdentity, "identity.signature", "")})
			}
		}
		if counts != (passed <= 3) {
			t.Errorf("%s: %d guesses passed", field, passed)
		}
	}
}

// A guesser who waits for each next request guesses at a tenth of the rate, not at the whole of it; the address is still
// served without a credential, and guesses again later.
func TestAPatientGuesserIsHeldToATenth(t *testing.T) {
	c := &clock{time.Now()}
	g := arrivals(t, c, "50/s burst 200")
	guesses, plain := 0, 0
	for range 600 { // a minute at ten a second: within the address's quota
		c.now = c.now.Add(100 * time.Millisecond)
		x := from("192.0.2.1")
		x.Request.Fields.Set("Authorization", "Bearer x")
		v := g.Check(t.Context(), x)
		if v.Allowed() {
			guesses++
			g.Settle(x, gate.Outcome{Verdict: gate.Deny(gate.NoIdentity, "identity.signature", "")})
		} else if v.Code != gate.TooMany || v.Reason != rate.ReasonRefused || v.Header.Get("Retry-After") == "" {
			t.Fatalf("%+v", v)
		}
		if g.Check(t.Context(), from("192.0.2.1")).Allowed() {
			plain++
		}
	}
	if most := 20 + 60*5 + 1; guesses > most || guesses < most-10 {
		t.Errorf("%d guesses passed in a minute, want about %d", guesses, most)
	}
	if plain < 500 {
		t.Errorf("%d of 600 requests without a credential passed", plain)
	}
}

func TestCallersAreCountedOverAllAddresses(t *testing.T) {
	c := &clock{time.Now()}
	g, err := rate.NewCallers(rate.Config{PerCaller: quota(t, "1/h burst 2")}, nil, memory.NewCounters(1000, c.time), c.time)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for i := range 5 {
		x := from(fmt.Sprintf("192.0.2.%d", i))
		x.Identify(gate.Principal{Issuer: "a", Subject: "ann"})
		if g.Check(t.Context(), x).Allowed() {
			passed++
		}
	}
	other := from("192.0.2.1")
	other.Identify(gate.Principal{Issuer: "b", Subject: "ann"})
	if passed != 2 || !g.Check(t.Context(), other).Allowed() || !g.Check(t.Context(), from("192.0.2.1")).Allowed() {
		t.Fatalf("%d passed, want 2; another issuer's ann and a caller without credential pass", passed)
	}
}

// brokenCounters cannot count.
type brokenCounters struct{ rate.Counters }

func (brokenCounters) GetWithTime(context.Context, string) (int64, time.Time, error) {
	return 0, time.Time{}, fmt.Errorf("no connection")
}

// I7: a limit that cannot be counted denies.
func TestCountersThatFailDeny(t *testing.T) {
	g, err := rate.NewArrivals(rate.Config{}, brokenCounters{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if v := g.Check(t.Context(), from("192.0.2.1")); v.Code != gate.Unavailable {
		t.Fatalf("%+v", v)
	}
	if _, err := rate.NewArrivals(rate.Config{}, nil, time.Now); err == nil {
		t.Fatal("a guard without counters was made")
	}
}

func TestQuotaText(t *testing.T) {
	for _, good := range []string{"50/s burst 200", "100/m burst 100", "5/h burst 1"} {
		if got := quota(t, good).String(); got != good {
			t.Errorf("%q is written back as %q", good, got)
		}
	}
	if q := quota(t, "7/m"); q.Burst != 7 {
		t.Errorf("burst %d", q.Burst)
	}
	for _, bad := range []string{"", "50", "50/d", "0/s", "-1/s", "50/s burst", "50/s burst 0", "50/s burst x", "1.5/s", "50/s 200", "99999999/s"} {
		var q rate.Quota
		if err := q.UnmarshalText([]byte(bad)); err == nil || !strings.Contains(err.Error(), "50/s burst 200") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzQuota(f *testing.F) {
	f.Add("50/s burst 200")
	f.Fuzz(func(t *testing.T, text string) {
		var q, again rate.Quota
		if q.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(q.String())); err != nil || again != q {
			t.Fatalf("%q -> %v -> %v, %v", text, q, again, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	g, err := rate.NewArrivals(rate.Config{PerAddress: rate.Quota{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}}, memory.NewCounters(1<<20, time.Now), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	x := from("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		g.Check(b.Context(), x)
	}
}
