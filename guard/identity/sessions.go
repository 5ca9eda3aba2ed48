package identity

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/binding"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Sessions says whose sessions open an API. The zero Sessions takes none.
type Sessions struct {
	// Names of the providers of the section portal whose users may come in. A page that lacks a session is sent to sign in;
	// everything else is answered with 401. Default none: no session is taken.
	Providers []string `yaml:"providers,nonempty"`
}

// SignInPath is where a host of an API has users sign in, with the page to come back to as the parameter "to".
const SignInPath = "/.gatehouse/sign-in"

// longestWay is how long a page's path with its query may be for a login to lead back to it; the portal leads back to no longer
// one, and its contract refuses much longer ones.
const longestWay = 1024

// check finds what is wrong with taking sessions at this API.
func (s Sessions) check(c Config, api *gate.API, tools Tools, wrong *mistake.List) {
	if s.Providers != nil && len(s.Providers) == 0 {
		wrong.Add("sessions.providers", "", "an empty list takes no session: name a provider, or remove sessions")
	}
	if len(s.Providers) == 0 {
		return
	}
	known := slices.Sorted(maps.Keys(tools.Providers))
	for i, name := range s.Providers {
		at := fmt.Sprintf("sessions.providers[%d]", i)
		switch {
		case len(known) == 0:
			wrong.Add(at, "portal: {origin: https://login.example.com, providers: [...]}", "the document has no section portal with a provider named %q", name)
		case !slices.Contains(known, name):
			wrong.Add(at, mistake.Nearest(name, known), "the section portal has no provider %q; it has %s", name, strings.Join(known, ", "))
		case slices.Contains(s.Providers[:i], name):
			wrong.Add(at, "", "%s stands twice", name)
		}
	}
	if len(api.Hosts) == 0 {
		wrong.Add("sessions", "", "API %s is reached at any host: a cookie is made for one, and who signs in must not be led back to a host that somebody made up; write apis[].hosts", api.Name)
	}
	if c.Bound == binding.Required {
		wrong.Add("bound", "", "a session's cookie is not bound to its browser, so it can't be taken where credentials must be bound: remove bound or sessions")
	}
	if c.SingleUse {
		wrong.Add("single_use", "", "a session's cookie is shown again and again, so it can't be taken where each credential counts once: remove single_use or sessions")
	}
}

// Providers names those whose users' sessions are taken, none where no session is.
func (g *Guard) Providers() []string { return slices.Clone(g.sessions) }

// signIn sends a page to sign in, and takes a cookie that doesn't hold out of its browser. A script gets its 401: what it
// asked for can't be had on another page. A cookie that is only unknown stays where a script shows it: another tab may have got a
// new one meanwhile.
func signIn(x *gate.Exchange, v gate.Verdict) gate.Verdict {
	_, found, _ := session.ValueOf(x.Request.Cookies)
	if found && (v.Reason == session.Ended || v.Reason == session.Malformed || navigates(x)) {
		v = v.With("Set-Cookie", session.Cookie+"=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
	}
	if !navigates(x) {
		return v
	}
	return v.Sending(SignInPath + "?to=" + url.QueryEscape(wayBack(x)))
}

// navigates tells that a browser wants to show the answer as a page, and would show another in its place.
func navigates(x *gate.Exchange) bool {
	in := x.Request
	if in.Method != http.MethodGet && in.Method != http.MethodHead || in.Upgrade != "" || len(in.Fields["Authorization"]) > 0 {
		return false
	}
	if mode := in.Fields.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate" && in.Fields.Get("Sec-Fetch-Dest") == "document"
	}
	return slices.ContainsFunc(strings.Split(in.Fields.Get("Accept"), ","), func(media string) bool {
		media, _, _ = strings.Cut(strings.TrimSpace(media), ";")
		return strings.EqualFold(strings.TrimSpace(media), "text/html")
	})
}
