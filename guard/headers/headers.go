// Package headers has the last look at the fields of every answer: it removes what tells an attacker which product and
// version answers, and adds what browsers need to be told so that an answer of an API cannot be run, framed or guessed at
// (OWASP ASVS 5, chapter 3.4).
package headers

import (
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Config is the section guards.headers.
type Config struct {
	// How long browsers must come back over TLS only. Default 8760h (one year).
	HSTS time.Duration `yaml:"hsts"`
	// Fields to set on every answer, in place of the server's own and of the defaults.
	Set map[string]string `yaml:"set"`
	// More fields to remove from every answer.
	Remove []string `yaml:"remove"`
	// Fields among those that are removed by default which are passed on all the same, such as Server.
	Keep []string `yaml:"keep"`
}

// telling are fields that name a product or a version, or leak how servers are wired.
var telling = []string{
	"Server", "Via", "X-Powered-By", "X-Powered-By-Plesk", "X-Aspnet-Version", "X-Aspnetmvc-Version", "X-Generator", "X-Runtime", "X-Version",
	"X-Backend-Server", "X-Backend", "X-Served-By", "X-Server", "X-Server-Name", "X-Host", "X-Drupal-Cache", "X-Drupal-Dynamic-Cache",
	"X-Varnish", "X-Envoy-Upstream-Service-Time", "X-Envoy-Decorator-Operation", "X-Kong-Proxy-Latency", "X-Kong-Upstream-Latency",
	"X-Sourcemap", "Sourcemap", "X-Debug-Token", "X-Debug-Token-Link", "X-Php-Version", "X-Application-Context", "X-Cf-Powered-By",
	"X-Mod-Pagespeed", "X-Litespeed-Cache", "X-Rack-Cache", "X-Turbo-Charged-By", "Liferay-Portal", "Microsoftsharepointteamservices", "Public-Key-Pins",
}

// missing are set when the server has said nothing of its own.
var missing = [][2]string{
	{"X-Content-Type-Options", "nosniff"},
	{"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cache-Control", "no-store"},
}

// never may not be set by a document: they frame the message or belong to other parts.
var never = []string{"Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Upgrade", "Te", "Keep-Alive", "Set-Cookie", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"}

// Guard is the guard. Make it with New.
type Guard struct {
	set    map[string]string
	remove []string
	hsts   string
}

// New checks the section.
func New(cfg Config, _ *gate.API) (*Guard, error) {
	var m mistake.List
	g := &Guard{set: map[string]string{}}
	for name, value := range cfg.Set {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !token(name) || slices.Contains(never, canonical):
			m.Add("set."+name, "", "%q cannot be set on an answer here", name)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			m.Add("set."+name, "", "the value holds a control character")
		}
		g.set[canonical] = value
	}
	for i, name := range cfg.Keep {
		if !slices.Contains(telling, textproto.CanonicalMIMEHeaderKey(name)) {
			m.Add(fmt.Sprintf("keep[%d]", i), mistake.Nearest(name, telling), "%q is not removed by default", name)
		}
	}
	for i, name := range cfg.Remove {
		if !token(name) {
			m.Add(fmt.Sprintf("remove[%d]", i), "X-Internal-Id", "%q is no name of a field", name)
		}
		g.remove = append(g.remove, textproto.CanonicalMIMEHeaderKey(name))
	}
	for _, name := range telling {
		if !slices.ContainsFunc(cfg.Keep, func(k string) bool { return strings.EqualFold(k, name) }) {
			g.remove = append(g.remove, name)
		}
	}
	if cfg.HSTS < 0 || cfg.HSTS > 0 && cfg.HSTS < time.Second {
		m.Add("hsts", "8760h", "%s is too short to mean anything", cfg.HSTS)
	}
	if cfg.HSTS == 0 {
		cfg.HSTS = 365 * 24 * time.Hour
	}
	g.hsts = fmt.Sprintf("max-age=%d; includeSubDomains", int(cfg.HSTS.Seconds()))
	return g, m.Err()
}

func token(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// thisMachine tells that the host is localhost: a browser that is told to come over TLS only would apply that to every other
// server that somebody develops there, on any port, for a year.
func thisMachine(x *gate.Exchange) bool {
	return x.Request != nil && (x.Request.Host == "localhost" || strings.HasSuffix(x.Request.Host, ".localhost"))
}

// Review changes the answer's fields; it never denies.
func (g *Guard) Review(_ context.Context, x *gate.Exchange, a *gate.Answer) gate.Verdict {
	for _, name := range g.remove {
		delete(a.Fields, name)
	}
	for _, f := range missing {
		if _, said := a.Fields[f[0]]; !said {
			a.Fields[f[0]] = []string{f[1]}
		}
	}
	if x.Source.TLS != nil && !thisMachine(x) {
		a.Fields["Strict-Transport-Security"] = []string{g.hsts}
	} else {
		delete(a.Fields, http.CanonicalHeaderKey("Strict-Transport-Security"))
	}
	for name, value := range g.set {
		a.Fields[name] = []string{value}
	}
	return gate.Allow()
}
