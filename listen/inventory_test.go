package listen

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// Each certificate that can be shown is looked at, and what will stop a service is said before it does.
func TestInventory(t *testing.T) {
	authority := newAuthority(t)
	b := run(t, Config{
		At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{authority.issue("a", "a.test"), authority.issue("b", "b.test")},
	}, deps(t, http.HandlerFunc(tell)))
	now := time.Now()
	all := b.Inventory(now)
	if len(all) < 2 || all[0].Names[0] != "a.test" || !strings.HasPrefix(all[0].Where, "listen.certificates: ") || !strings.HasSuffix(all[0].Where, "a.crt") || len(all[0].Findings) != 0 {
		t.Fatalf("%+v", all)
	}
	for at, want := range map[time.Time]string{all[0].NotAfter.Add(time.Second): ca.Expired, all[0].NotAfter.Add(-time.Second): ca.ExpiresSoon, all[0].NotBefore.Add(-time.Second): ca.NotYetValid} {
		if c := b.Inventory(at)[0]; len(c.Findings) != 1 || c.Findings[0].ID != want {
			t.Errorf("at %v: %+v, want %s", at, c.Findings, want)
		}
	}
	d := deps(t, http.HandlerFunc(tell))
	d.Development = true
	dev := run(t, Config{At: at(t, "https://127.0.0.1:0")}, d).Inventory(now)
	if len(dev) != 2 || dev[0].Where != "listen: development" || len(dev[0].Findings) != 0 || !dev[1].Authority {
		t.Errorf("%+v", dev)
	}
}

// A domain whose certificate was not obtained yet is told of: handshakes for it fail.
func TestInventoryOfWhatIsMissing(t *testing.T) {
	tlsPort := loopback.Port()
	acme, _ := pebble(t, 0, tlsPort)
	acme.Domains = append(acme.Domains, "never.test")
	b := run(t, Config{At: at(t, fmt.Sprintf("https://127.0.0.1:%d", tlsPort)), ACME: acme}, deps(t, http.HandlerFunc(tell)))
	found := func(id string) (where []string) {
		for _, c := range b.Inventory(time.Now()) {
			if len(c.Findings) > 0 && c.Findings[0].ID == id {
				where = append(where, c.Where)
			}
		}
		return where
	}
	if got := found(ca.Missing); len(got) == 0 || got[len(got)-1] != "listen.acme: never.test" {
		t.Errorf("missing %q", got)
	}
	all := b.Inventory(time.Now())
	if last := all[len(all)-1]; !strings.HasPrefix(last.Where, "listen.acme.ca_root: ") || last.Subject == "" {
		t.Errorf("%+v", last)
	}
}
