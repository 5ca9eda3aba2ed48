package pipeline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Wrong uses of apis: what would leave something silently off, or reached where nobody thinks it is.
func TestAPIMistakes(t *testing.T) {
	contract := func(server string) map[string]string {
		return map[string]string{"c.yaml": strings.Replace(plain, "paths:", "servers: [{url: \""+server+"\"}]\npaths:", 1)}
	}
	const to = `to: ["http://127.0.0.1:1"]`
	for name, c := range map[string]struct {
		document  string
		contracts map[string]string
		place     string // in the error; "" when it is a good document
	}{
		"good":                      {"{name: t, contract: c.yaml, " + to + ", operations: {list: {public: true}, POST /things: {public: true}}}", contract("/v1"), ""},
		"one operation twice":       {"{name: t, contract: c.yaml, " + to + ", operations: {list: {public: true}, GET /things: {roles: [admin]}}}", contract("/v1"), "operations.GET /things"},
		"unknown operation":         {"{name: t, contract: c.yaml, " + to + ", operations: {lisst: {public: true}}}", contract("/v1"), "operations.lisst"},
		"base that nobody can name": {"{name: t, contract: c.yaml, " + to + "}", contract("https://t.test/a;b"), "/servers/0/url"},
		"base with dots":            {"{name: t, contract: c.yaml, " + to + ", base: /a/../b}", contract("/v1"), "base"},
		"base with two slashes":     {"{name: t, contract: c.yaml, " + to + ", base: //b}", contract("/v1"), "base"},
		"same name twice":           {"{name: t, contract: c.yaml, " + to + "}, {name: t, base: /b, contract: c.yaml, " + to + "}", contract("/v1"), "name"},
		"same place twice":          {"{name: t, contract: c.yaml, " + to + "}, {name: u, contract: c.yaml, " + to + "}", contract("/v1"), "base"},
		"same place, spelt apart":   {"{name: t, base: /%61, contract: c.yaml, " + to + "}, {name: u, base: /a/, contract: c.yaml, " + to + "}", contract("/v1"), "base"},
		"same host, spelt apart":    {"{name: t, hosts: [A.test.], contract: c.yaml, " + to + "}, {name: u, hosts: [a.test], contract: c.yaml, " + to + "}", contract("/v1"), "base"},
		"host with a port":          {"{name: t, hosts: [\"a.test:8443\"], contract: c.yaml, " + to + "}", contract("/v1"), "hosts[0]"},
		"host with a wildcard":      {"{name: t, hosts: [\"*.test\"], contract: c.yaml, " + to + "}", contract("/v1"), "hosts[0]"},
		"name with a space":         {"{name: a b, contract: c.yaml, " + to + "}", contract("/v1"), "name"},
		"name that never ends":      {"{name: " + strings.Repeat("a", 65) + ", contract: c.yaml, " + to + "}", contract("/v1"), "name"},
		"no server":                 {"{name: t, contract: c.yaml}", contract("/v1"), "to"},
		"no contract":               {"{name: t, " + to + "}", nil, "contract"},
		"none, no reason":           {"{name: t, contract: none, " + to + "}", nil, "contract"},
	} {
		_, err := serve(t, "guards: {identity: {off: {accept_risk: why}}}\napis: ["+c.document+"]\n", c.contracts)
		switch {
		case c.place == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.place != "" && (err == nil || !strings.Contains(err.Error(), c.place)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Which API a request belongs to is a function of its host and its path's first segments, whatever the order in which the
// document lists the APIs: the longest base of the host's own APIs, or of those without hosts where no API names the host.
func TestTheChoiceOfAnAPI(t *testing.T) {
	type api struct {
		hosts []string
		base  []string
	}
	hosts, words := []string{"a.test", "b.test", "c.test"}, []string{"v1", "v1x", "a", "b", "%2561"}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(most int, from []string) (list []string) {
		for range random.IntN(most + 1) {
			list = append(list, from[random.IntN(len(from))])
		}
		return list
	}
	reference := func(apis []api, host string, path []string) int {
		best, named := -1, slices.ContainsFunc(apis, func(a api) bool { return slices.Contains(a.hosts, host) })
		for i, a := range apis {
			mine := slices.Contains(a.hosts, host) || !named && len(a.hosts) == 0
			if mine && strings.HasPrefix("/"+strings.Join(path, "/")+"/", "/"+strings.Join(append(slices.Clone(a.base), ""), "/")) &&
				(best < 0 || len(a.base) > len(apis[best].base)) {
				best = i
			}
		}
		return best
	}
	for range 60 {
		var apis []api
		var document strings.Builder
		seen := map[string]bool{}
		for range 1 + random.IntN(6) {
			a := api{base: pick(3, words)}
			for _, h := range hosts {
				if random.IntN(3) == 0 {
					a.hosts = append(a.hosts, h)
				}
			}
			base := "/" + strings.Join(a.base, "/")
			taken := len(a.hosts) == 0 && seen[base]
			for _, h := range a.hosts {
				taken = taken || seen[h+base]
			}
			if taken {
				continue
			}
			for _, h := range append([]string{""}, a.hosts...) {
				if h != "" || len(a.hosts) == 0 {
					seen[h+base] = true
				}
			}
			fmt.Fprintf(&document, "  - {name: n%d, hosts: [%s], base: %q, contract: none, accept_risk: why, to: [\"http://127.0.0.1:1\"]}\n", len(apis), strings.Join(a.hosts, ", "), base)
			apis = append(apis, a)
		}
		r := serving(t, "guards: {identity: {off: {accept_risk: w}}, access: {off: {accept_risk: w}}, waf: {off: {accept_risk: w}}, rate: {off: {accept_risk: w}}}\napis:\n"+document.String(), nil)
		for range 40 {
			host, path := append(hosts, "d.test")[random.IntN(4)], pick(4, words)
			want, target := reference(apis, host, path), "/"+strings.Join(path, "/")
			w := r.ask("GET", "http://"+host+target, "")
			if want < 0 {
				if w.Code != 404 || r.got != nil {
					t.Fatalf("%s\n%s%s: %d, want no API", document.String(), host, target, w.Code)
				}
				continue
			}
			left := "/" + strings.Join(path[len(apis[want].base):], "/")
			if w.Code != 200 || r.events[0].Request.API != fmt.Sprintf("n%d", want) || r.got.URL.EscapedPath() != left {
				t.Fatalf("%s\n%s%s: %d, api %q, server got %v, want n%d and %s", document.String(), host, target, w.Code, r.events[0].Request.API, r.got, want, left)
			}
		}
	}
}
