package keys

import (
	"context"
	"crypto/elliptic"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func fetchOnce(t *testing.T, p *provider, o Origin) ([]byte, error) {
	t.Helper()
	f, err := newFetcher(o, p.network())
	if err != nil {
		t.Fatal(err)
	}
	return f.fetch(context.Background())
}

func TestFetchByDiscoveryAndDirectly(t *testing.T) {
	p := newProvider(t, jwks(jwk(t, ec(t, elliptic.P256()).Public(), "a", "", "")))
	direct := p.origin()
	direct.URL = "https://example.com/keys"
	for _, o := range []Origin{p.origin(), direct} {
		data, err := fetchOnce(t, p, o)
		if err != nil || string(data) != string(p.keys) {
			t.Errorf("%+v: %s %v", o, data, err)
		}
	}
	slash := p.origin()
	slash.Issuer += "/"
	if _, err := fetchOnce(t, p, slash); err == nil || !strings.Contains(err.Error(), "to the letter") {
		t.Errorf("an issuer that differs in a slash: %v", err)
	}
	unknown := p.origin()
	unknown.CA = ""
	if _, err := fetchOnce(t, p, unknown); err == nil {
		t.Error("a certificate that nobody vouches for is accepted")
	}
}

// E6: whatever the provider answers, no address is reached that isn't public.
func TestFetchStaysOutside(t *testing.T) {
	describe := func(issuer, keys string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer, keys)
		}
	}
	const me = "https://example.com/realm"
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		hosts  map[string][]string
		dials  int // how often somebody is called at all
	}{
		{"metadata as key server", describe(me, "https://169.254.169.254/keys"), nil, 1},
		{"metadata over http", describe(me, "http://169.254.169.254/keys"), nil, 1},
		{"this machine as key server", describe(me, "https://127.0.0.1/keys"), nil, 1},
		{"this machine over http", describe(me, "http://localhost:9180/keys"), nil, 1},
		{"a name for the metadata", describe(me, "https://inside.example.com/keys"), map[string][]string{"inside.example.com": {"169.254.169.254"}}, 1},
		{"a name for a neighbour", describe(me, "https://inside.example.com/keys"), map[string][]string{"inside.example.com": {"10.1.2.3", "fd00::1"}}, 1},
		{"a name for nothing", describe(me, "https://nowhere.example.com/keys"), nil, 1},
		{"a file", describe(me, "file:///etc/passwd"), nil, 1},
		{"no key server", describe(me, ""), nil, 1},
		{"another issuer", describe("https://evil.example.com", "https://example.com/keys"), nil, 1},
		{"user in the address", describe(me, "https://u:p@example.com/keys"), nil, 1},
		{"issuer moved inside", nil, map[string][]string{"example.com": {"10.0.0.1"}}, 0},
		{"issuer is the metadata", nil, map[string][]string{"example.com": {"::ffff:169.254.169.254"}}, 0},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://169.254.169.254/latest", http.StatusFound)
		}, nil, 1},
		{"redirect to itself", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/keys", http.StatusTemporaryRedirect)
		}, nil, 1},
		{"error", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, nil, 1},
		{"no content", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, nil, 1},
		{"no JSON", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }, nil, 1},
		{"not UTF-8", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "{\"issuer\":\"\xff\"}") }, nil, 1},
		{"issuer twice", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"issuer":"https://evil.example.com","issuer":%q,"jwks_uri":"https://example.com/keys"}`, me)
		}, nil, 1},
		{"too large", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "{", strings.Repeat(" ", maxSet)) }, nil, 1},
		{"too large a head", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHead)) }, nil, 1},
		{"compressed", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b")
		}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, nil)
			p.answer = c.answer
			for host, list := range c.hosts {
				p.lookups[host] = list
			}
			if data, err := fetchOnce(t, p, p.origin()); err == nil {
				t.Fatalf("fetched %q", data)
			}
			if len(p.dialled) != c.dials || slices.ContainsFunc(p.dialled, func(a string) bool { return a != public+":443" }) {
				t.Errorf("dialled %v", p.dialled)
			}
		})
	}
}

// E6: a name that answers with another address the second time is judged the second time, and dialled as judged.
func TestFetchUnderDNSRebinding(t *testing.T) {
	p := newProvider(t, nil)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		p.set(func(p *provider) { p.lookups["example.com"] = []string{"127.0.0.1"} })
		fmt.Fprint(w, `{"issuer":"https://example.com/realm","jwks_uri":"https://example.com/keys"}`)
	}
	if data, err := fetchOnce(t, p, p.origin()); err == nil || len(p.dialled) != 1 {
		t.Errorf("%q %v %v", data, err, p.dialled)
	}
}

func TestFetchFromPrivateAddressOnlyWithRisk(t *testing.T) {
	p := newProvider(t, jwks(jwk(t, ec(t, elliptic.P256()).Public(), "a", "", "")))
	p.lookups["example.com"] = []string{"127.0.0.1", "169.254.1.1", "10.0.0.7"}
	if _, err := fetchOnce(t, p, p.origin()); err == nil || !strings.Contains(err.Error(), "allow_private") {
		t.Errorf("without: %v", err)
	}
	o := p.origin()
	o.Private = true
	if _, err := fetchOnce(t, p, o); err != nil || slices.ContainsFunc(p.dialled, func(a string) bool { return a != "10.0.0.7:443" }) {
		t.Errorf("with: %v %v", err, p.dialled)
	}
}

// A name for this machine that leads elsewhere would be asked without encryption.
func TestFetchWithoutEncryptionStaysHere(t *testing.T) {
	for _, address := range []string{public, "10.0.0.1"} {
		p := newProvider(t, nil)
		p.lookups["localhost"] = []string{address}
		if data, err := fetchOnce(t, p, Origin{Issuer: "http://localhost:8080", Private: true}); err == nil || len(p.dialled) > 0 {
			t.Errorf("%s: %q %v", address, data, p.dialled)
		}
	}
}

// A provider that answers byte by byte, or never, is given up after five seconds; Close doesn't wait for it.
func TestFetchGivesUp(t *testing.T) {
	p := newProvider(t, nil)
	hang := make(chan struct{})
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	defer close(hang)
	s, _ := p.source(t)
	if _, err := s.Open(p.origin()); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
		t.Error("Close waits for a provider that hangs")
	}
}
