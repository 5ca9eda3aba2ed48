package address

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func prefixes(list ...string) []netip.Prefix {
	all := []netip.Prefix{} // never nil: an empty list is one
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// B4: a client behind a proxy of ours can spoil what the proxy says of it; then the proxy counts as the client. That must
// not lead round a list: neither past a denial nor into what only the proxy's network may call.
func TestDoubtIsNoWayRoundAList(t *testing.T) {
	for name, c := range map[string]struct {
		cfg    Config
		reason gate.Reason
	}{
		"no lists":      {Config{}, ""},
		"no denials":    {Config{Deny: prefixes()}, ""},
		"others denied": {Config{Deny: prefixes("192.0.2.0/24")}, Doubtful},
		"proxy allowed": {Config{Allow: prefixes("10.0.0.0/8")}, Doubtful},
	} {
		g, err := New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		x := &gate.Exchange{Source: gate.Source{Client: netip.MustParseAddr("10.0.0.1"), Trusted: true, Doubt: "Forwarded: malformed"}}
		if v := g.Check(t.Context(), x); v.Reason != c.reason || v.Allowed() != (c.reason == "") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name    string
		cfg     Config
		address string
		reason  gate.Reason // "": allowed
		rule    string
	}{
		{"no lists", Config{}, "192.0.2.1", "", ""},
		{"empty allow list allows nobody", Config{Allow: prefixes()}, "192.0.2.1", NotAllowed, "guards.address.allow"},
		{"empty deny list denies nobody", Config{Deny: prefixes()}, "192.0.2.1", "", ""},
		{"allowed", Config{Allow: prefixes("192.0.2.0/24")}, "192.0.2.1", "", ""},
		{"not allowed", Config{Allow: prefixes("192.0.2.0/24")}, "192.0.3.1", NotAllowed, "guards.address.allow"},
		{"IPv6 beside an IPv4 list", Config{Allow: prefixes("0.0.0.0/0")}, "2001:db8::1", NotAllowed, "guards.address.allow"},
		{"denied", Config{Deny: prefixes("10.0.0.0/8", "192.0.2.0/24")}, "192.0.2.1", Denied, "guards.address.deny[1]"},
		{"deny wins over a narrower allow", Config{Allow: prefixes("192.0.2.1/32"), Deny: prefixes("192.0.2.0/24")}, "192.0.2.1", Denied, "guards.address.deny[0]"},
		{"the narrowest entry is named", Config{Deny: prefixes("192.0.0.0/8", "192.0.2.0/24", "192.0.2.0/24")}, "192.0.2.1", Denied, "guards.address.deny[1]"},
		{"everything denied", Config{Deny: prefixes("::/0", "0.0.0.0/0")}, "192.0.2.1", Denied, "guards.address.deny[1]"},
		// B4: a mapped address is the IPv4 address
		{"mapped address, denied", Config{Deny: prefixes("10.0.0.0/8")}, "::ffff:10.0.0.1", Denied, "guards.address.deny[0]"},
		{"mapped address, allowed", Config{Allow: prefixes("10.0.0.0/8")}, "::ffff:10.0.0.1", "", ""},
		{"mapped entry", Config{Deny: prefixes("::ffff:10.0.0.0/104")}, "10.0.0.1", Denied, "guards.address.deny[0]"},
		{"zone", Config{Deny: prefixes("fe80::/10")}, "fe80::1%eth0", Denied, "guards.address.deny[0]"},
		{"no address", Config{}, "", Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			x := &gate.Exchange{}
			if c.address != "" {
				x.Source.Client = netip.MustParseAddr(c.address)
			}
			v := g.Check(context.Background(), x)
			if v.Allowed() != (c.reason == "") || v.Reason != c.reason || v.Rule != c.rule {
				t.Errorf("%+v", v)
			}
			if !v.Allowed() && (v.Code != gate.BadAddress || v.Code.Status() != 403 || !slices.Contains(Reasons(), v.Reason)) {
				t.Errorf("code %s, reason %s", v.Code, v.Reason)
			}
		})
	}
}

func TestWrongUses(t *testing.T) {
	_, err := New(Config{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("10.0.0.0/8"), {}},
		Deny:  []netip.Prefix{netip.MustParsePrefix("2001:db8::1/32"), netip.MustParsePrefix("::ffff:0:0/95"), netip.MustParsePrefix("::ffff:0.0.0.0/90")},
	})
	var list mistake.List
	if !errors.As(err, &list) {
		t.Fatalf("accepted: %v", err)
	}
	want := []mistake.Mistake{{Path: "allow[0]", Write: "10.0.0.0/8"}, {Path: "allow[2]"}, {Path: "deny[0]", Write: "2001:db8::/32"}, {Path: "deny[1]"}, {Path: "deny[2]"}}
	if len(list) != len(want) {
		t.Fatalf("mistakes:\n%v", list)
	}
	for i, m := range list {
		if m.Path != want[i].Path || want[i].Write != "" && m.Write != want[i].Write || strings.HasSuffix(m.What, ".") {
			t.Errorf("mistake %d: %+v", i, m)
		}
	}
}

// The guard agrees with a search of the lists, address by address.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 192, 0, 2, 0, 24}, []byte{10, 1, 0, 0, 16}, []byte{10, 1, 2, 3})
	f.Fuzz(func(t *testing.T, allow, deny, address []byte) {
		read := func(data []byte) (list []netip.Prefix) {
			for ; len(data) >= 5 && len(list) < 20; data = data[5:] {
				list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte(data)), int(data[4])%33).Masked())
			}
			return list
		}
		if len(address) < 4 {
			return
		}
		a := netip.AddrFrom4([4]byte(address))
		cfg := Config{Allow: read(allow), Deny: read(deny)}
		in := func(list []netip.Prefix) bool {
			return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		want := !in(cfg.Deny) && (cfg.Allow == nil || in(cfg.Allow))
		g, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		x := &gate.Exchange{}
		x.Source.Client = a
		if got := g.Check(context.Background(), x).Allowed(); got != want {
			t.Errorf("%v with %+v: %v", a, cfg, got)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	cfg := Config{}
	for i := range 100_000 {
		cfg.Deny = append(cfg.Deny, netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	g, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	x := &gate.Exchange{}
	x.Source.Client = netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		g.Check(context.Background(), x)
	}
}
