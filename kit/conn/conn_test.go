package conn

import (
	"context"
	"net/netip"
	"testing"
)

func TestFromGivesWhatWithPutIn(t *testing.T) {
	c := &Conn{ID: 7}
	got, ok := From(With(context.Background(), c))
	if !ok || got != c {
		t.Fatalf("From = %v, %v", got, ok)
	}
	if _, ok := From(context.Background()); ok {
		t.Error("a context without a connection gave one")
	}
	if _, ok := From(With(context.Background(), nil)); ok {
		t.Error("a nil connection counts as one")
	}
}

func TestTrustIsAskedEachTime(t *testing.T) {
	proxies := map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true}
	c := &Conn{
		Peer:  netip.MustParseAddrPort("192.0.2.1:4711"),
		Proxy: func(a netip.Addr) bool { return proxies[a] },
	}
	if !c.Trusted() {
		t.Error("a listed peer is not trusted")
	}
	if !c.IsProxy(netip.MustParseAddr("::ffff:192.0.2.1")) { // B4: mapped addresses are unmapped first
		t.Error("a mapped address is not recognised")
	}
	clear(proxies)
	if c.Trusted() {
		t.Error("a peer that was taken off the list is still trusted")
	}
}

func TestZeroConnTrustsNobody(t *testing.T) {
	var c Conn
	if c.Trusted() || c.IsProxy(netip.MustParseAddr("127.0.0.1")) || c.IsProxy(netip.Addr{}) {
		t.Error("the zero Conn trusts somebody")
	}
}
