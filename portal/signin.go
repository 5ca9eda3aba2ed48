package portal

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/oidc"
)

// longestWay is how long a path with its query may be to which a login leads back, in bytes.
const longestWay = 1024

// Cookies that tell a browser apart, before anybody has signed in.
const (
	browserCookie = session.Prefix + "browser" // at the portal
	beginCookie   = session.Prefix + "begin"   // at a host of an API
)

// beginHere is where a host of an API has a browser sign in.
func (p *Portal) beginHere(w http.ResponseWriter, r *http.Request) {
	// A browser is at https, whatever spoke to us: it keeps our cookies for nothing else, and a code must not pass in the clear.
	n := note{Origin: "https://" + r.Host, Host: hostOf(r), Until: p.tools.Now().Add(loginTime)}
	to, providers := p.wanted(n.Host, r.URL.Query().Get("to"))
	if len(providers) == 0 {
		p.elsewhere(w, r, "nothing")
		return
	}
	mark, err := p.mark(w, r, beginCookie)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	n.To, n.Browser = to, digest(mark)
	n.Factor = r.URL.Query().Get("factor") == "true"
	n.MaxAge, _ = strconv.Atoi(r.URL.Query().Get("max_age")) // the contract has seen that it is a number, if it is there
	carried, err := p.sealed(asNote, n)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.send(w, p.cfg.Origin+"/sign-in?to="+carried)
}

// wanted judges where a browser wants back to: a path of this host, and nothing that a browser could take for another place
// (row E12). What it can't be read as is the beginning, and so is what would not fit into the addresses of a login.
func (p *Portal) wanted(host, to string) (clean string, providers []string) {
	if len(to) > longestWay {
		to = "/"
	}
	path, query, asked := strings.Cut(to, "?")
	path, segments, refusal := canon.Path(path)
	if refusal != nil || !strings.HasPrefix(path, "/") {
		path, segments, asked = "/", []string{""}, false
	}
	if asked {
		pairs, refusal := canon.Query(query, 0)
		if refusal == nil && len(pairs) > 0 {
			path += "?" + canon.EncodeQuery(pairs)
		}
	}
	return path, p.tools.Providers(host, segments)
}

// mark gives the value of a cookie that tells this browser apart, and makes one where there is none. It stays the same for all
// tabs, so that logins in several of them end well.
func (p *Portal) mark(w http.ResponseWriter, r *http.Request, name string) (string, error) {
	if value, ok := marked(r, name); ok {
		return value, nil
	}
	value, err := p.random()
	if err == nil {
		setCookie(w, name, value, 0)
	}
	return value, err
}

func marked(r *http.Request, name string) (string, bool) {
	all := r.CookiesNamed(name)
	if len(all) != 1 || len(all[0].Value) != 43 {
		return "", false
	}
	return all[0].Value, true
}

// setCookie sets one of the gateway's own. Age is in seconds: 0 until the browser is closed, below 0 it goes.
func setCookie(w http.ResponseWriter, name, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// signIn is where a browser comes to sign in: who has a session goes on at once, who has a choice gets it.
func (p *Portal) signIn(w http.ResponseWriter, r *http.Request) {
	n, ok := p.noted(w, r)
	if !ok {
		return
	}
	_, providers := p.wanted(n.Host, n.To)
	if e := p.signedIn(r); e != nil && slices.Contains(providers, e.Provider) && p.vouchers[e.Provider].Issuer == e.Issuer && p.lately(e, n) {
		p.goOn(w, r, e, n)
		return
	}
	switch len(providers) {
	case 0:
		p.problem(w, r, "nothing", p.cfg.Origin)
	case 1:
		p.begin(w, r, providers[0], n)
	default:
		p.choose(w, r, providers)
	}
}

// signInWith is the choice of a provider.
func (p *Portal) signInWith(w http.ResponseWriter, r *http.Request) {
	n, ok := p.noted(w, r)
	if !ok {
		return
	}
	if _, providers := p.wanted(n.Host, n.To); slices.Contains(providers, r.PathValue("provider")) {
		p.begin(w, r, r.PathValue("provider"), n)
		return
	}
	p.problem(w, r, "nothing", n.Origin+n.To)
}

// noted reads where a browser wants back to.
func (p *Portal) noted(w http.ResponseWriter, r *http.Request) (note, bool) {
	n, err := unsealed[note](p, asNote, r.URL.Query().Get("to"))
	switch {
	case errors.Is(err, errOver):
		p.send(w, n.Origin+n.To) // which begins anew
	case err != nil:
		p.problem(w, r, "link", "")
	}
	return n, err == nil
}

// begin sends a browser to a provider, or shows the page on which local users sign in.
func (p *Portal) begin(w http.ResponseWriter, r *http.Request, name string, n note) {
	if name == LocalName {
		p.showLocal(w, r, http.StatusOK, r.URL.Query().Get("to"), "", "")
		return
	}
	mark, err := p.mark(w, r, browserCookie)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	s := state{Provider: name, Browser: digest(mark), Note: n, Until: p.tools.Now().Add(loginTime)}
	if s.ID, err = p.random(); err != nil {
		p.fail(w, r, err)
		return
	}
	carried, err := p.sealed(asState, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	request := oidc.Request{State: carried, MaxAge: s.Note.age()}
	request.Nonce, request.Verifier = p.ofLogin(s)
	location, err := p.providers[name].oidc.Begin(r.Context(), request)
	if err != nil {
		p.report(r, "sign_on.provider", fmt.Sprintf("nobody can sign in by %s: %v", name, err))
		p.problem(w, r, "provider", n.Origin+n.To)
		return
	}
	p.send(w, location)
}

// ofLogin are the nonce and the verifier of a login: nothing of them is stored or carried.
func (p *Portal) ofLogin(s state) (nonce, verifier string) {
	word := func(label string) string {
		return base64.RawURLEncoding.EncodeToString(p.derive(label, s.ID, s.Browser, s.Provider))
	}
	return word("nonce"), word("verifier")
}

// callback is where a provider leads a browser back to.
func (p *Portal) callback(w http.ResponseWriter, r *http.Request) {
	c := p.providers[r.PathValue("provider")]
	if c == nil {
		p.problem(w, r, "nothing", "")
		return
	}
	query := r.URL.Query()
	s, err := unsealed[state](p, asState, query.Get("state"))
	back := s.Note.Origin + s.Note.To
	mark, ok := marked(r, browserCookie)
	switch {
	case errors.Is(err, errOver):
		p.problem(w, r, "slow", back)
		return
	case err != nil || s.Provider != c.Name: // each provider has an address of its own (row E14)
		p.refused(w, r, c, "state", "link", back)
		return
	case !ok || subtle.ConstantTimeCompare([]byte(digest(mark)), []byte(s.Browser)) != 1: // row E13
		p.refused(w, r, c, "another browser", "browser", back)
		return
	}
	if !p.tried.first(s.ID) { // a page that was loaded again
		p.problem(w, r, "used", back)
		return
	}
	tokens, q, err := p.trade(r, c, s, query)
	var denied *oidc.Denied
	switch {
	case errors.As(err, &denied):
		p.report(r, "sign_on.denied", fmt.Sprintf("%s says %s", c.Name, denied.Code))
		p.problem(w, r, "denied", back)
		return
	case errors.Is(err, oidc.ErrUnavailable):
		p.report(r, "sign_on.provider", fmt.Sprintf("a login by %s can't be finished: %v", c.Name, err))
		p.problem(w, r, "provider", back)
		return
	case errors.Is(err, oidc.ErrEnded): // the provider has seen this code before
		p.report(r, "sign_on.refused", fmt.Sprintf("an answer of %s: %v", c.Name, err))
		p.problem(w, r, "used", back)
		return
	case err != nil:
		p.refused(w, r, c, err.Error(), "answer", back)
		return
	}
	// What nodes share remembers logins that the provider has confirmed, and no others: anybody can begin one (row E34).
	first, err := p.tools.Once.First(r.Context(), "login/"+digest(s.ID), s.Until)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if !first {
		p.problem(w, r, "used", back)
		return
	}
	id, err := p.enter(w, r, q, kept.Grant{Refresh: tokens.Refresh})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.goOn(w, r, p.tools.Sessions.ByID(id), s.Note)
}

// trade makes of a provider's answer who has signed in.
func (p *Portal) trade(r *http.Request, c *provider, s state, query url.Values) (oidc.Tokens, session.Session, error) {
	var q session.Session
	code, err := c.oidc.Answer(r.Context(), query, query.Get("state"))
	if err != nil {
		return oidc.Tokens{}, q, err
	}
	nonce, verifier := p.ofLogin(s)
	tokens, err := c.oidc.Exchange(r.Context(), code, verifier, nonce, oidc.Want{MaxAge: s.Note.age()})
	if err != nil {
		return tokens, q, err
	}
	roles, err := c.granted(tokens.Claims)
	if err != nil {
		return tokens, q, err
	}
	q = session.Session{
		Provider: c.Name, Issuer: c.Issuer, Subject: tokens.Subject, Name: nameOf(tokens.Claims), Roles: roles, Scopes: session.Among(tokens.Scopes, c.voucher().Scopes),
		SignedIn: tokens.AuthTime, Class: tokens.ACR, Methods: tokens.AMR, Far: tokens.SessionID,
		Address: r.Header.Get("X-Forwarded-For"), Agent: agentOf(r.UserAgent()),
	}
	if q.SignedIn.IsZero() {
		q.SignedIn = p.tools.Now().UTC().Truncate(time.Second)
	}
	return tokens, q, nil
}

// agentOf says in words what a browser calls itself; nothing is decided by it.
func agentOf(text string) string {
	first := func(pairs [][2]string) string {
		for _, p := range pairs {
			if strings.Contains(text, p[0]) {
				return p[1]
			}
		}
		return ""
	}
	name := first([][2]string{{"Firefox/", "Firefox"}, {"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Chrome/", "Chrome"},
		{"CriOS/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}})
	system := first([][2]string{{"Windows", "Windows"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Mac OS X", "macOS"}, {"Android", "Android"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}})
	switch {
	case name == "":
		return clip(text, 40)
	case system == "":
		return name
	}
	return name + " on " + system
}

// nameOf is what people call a user; nothing is decided by it.
func nameOf(claims map[string]any) string {
	for _, claim := range []string{"preferred_username", "name", "email"} {
		if s, ok := claims[claim].(string); ok && s != "" {
			return clip(s, 80)
		}
	}
	return ""
}

// clip cuts a text and leaves out what doesn't print.
func clip(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r == 0xfffd {
			return -1
		}
		return r
	}, s)
	if list := []rune(s); len(list) > most {
		s = string(list[:most]) + "…"
	}
	return s
}

// enter opens the session of who has just signed in. In a browser that has a session of the same user it goes on, so that the
// pages in other tabs stay signed in; another user's ends (row E15). The cookie is another one in any case.
func (p *Portal) enter(w http.ResponseWriter, r *http.Request, q session.Session, g kept.Grant) (id string, err error) {
	if e := p.signedIn(r); e != nil {
		now, cookie, err := p.tools.Sessions.Renew(r.Context(), e.ID, p.host, q, g)
		if err == nil {
			setCookie(w, session.Cookie, cookie, p.age(now))
			p.report(r, "session.renewed", about(now))
			return now.ID, nil
		}
		if !errors.Is(err, kept.ErrGone) {
			return "", err
		}
		if err := p.end(r.Context(), e.ID, "gatehouse", "another user has signed in with this browser"); err != nil {
			return "", err
		}
	}
	over, err := p.tools.Sessions.MakeRoom(r.Context(), q)
	for _, one := range over {
		p.report(r, "session.ended", about(one)+"; the user has opened another, and has too many")
	}
	if err != nil {
		return "", err
	}
	q, cookie, err := p.tools.Sessions.Create(r.Context(), q, p.host, g)
	if err != nil {
		return "", err
	}
	setCookie(w, session.Cookie, cookie, p.age(q))
	p.report(r, "session.began", about(q))
	return q.ID, nil
}

// age is for how long a browser keeps the cookie of a session.
func (p *Portal) age(q session.Session) int {
	return max(1, int(q.Ends.Sub(p.tools.Now())/time.Second))
}

// signedIn is the session of this browser at the portal, nil when it has none that holds.
func (p *Portal) signedIn(r *http.Request) *session.Entry {
	all := r.CookiesNamed(session.Cookie)
	if len(all) != 1 {
		return nil
	}
	e, err := p.tools.Sessions.Find(r.Context(), hostOf(r), all[0].Value)
	if err != nil {
		return nil
	}
	return e
}

// handOn carries a session to the host at which its browser began.
func (p *Portal) handOn(w http.ResponseWriter, r *http.Request, id string, n note) {
	c := code{Session: id, Host: n.Host, To: n.To, Browser: n.Browser, Until: p.tools.Now().Add(codeTime)}
	var err error
	if c.ID, err = p.random(); err != nil {
		p.fail(w, r, err)
		return
	}
	carried, err := p.sealed(asCode, c)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.send(w, n.Origin+HostBase+"/return?code="+carried)
}

// comeBack is where a host of an API takes a session.
func (p *Portal) comeBack(w http.ResponseWriter, r *http.Request) {
	c, err := unsealed[code](p, asCode, r.URL.Query().Get("code"))
	if err != nil || c.Host != hostOf(r) {
		p.elsewhere(w, r, "link")
		return
	}
	// It is spent whoever shows it: one that another browser has seen is worth nothing.
	first, err := p.tools.Once.First(r.Context(), "code/"+digest(c.ID), c.Until)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if !first {
		p.elsewhere(w, r, "used")
		return
	}
	mark, ok := marked(r, beginCookie)
	if !ok || subtle.ConstantTimeCompare([]byte(digest(mark)), []byte(c.Browser)) != 1 {
		p.elsewhere(w, r, "browser")
		return
	}
	q, cookie, err := p.tools.Sessions.Open(r.Context(), c.Session, c.Host)
	if errors.Is(err, kept.ErrGone) {
		p.send(w, c.To) // which begins anew
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	setCookie(w, session.Cookie, cookie, p.age(q))
	p.send(w, c.To)
}

// hostOf is the host of a request without its port, as it was judged before it came here.
func hostOf(r *http.Request) string {
	host, _, refusal := canon.Host(r.Host, "https")
	if refusal != nil {
		return ""
	}
	return host
}

// send has the browser go to another address by GET.
func (p *Portal) send(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// elsewhere tells of a problem at the portal, since a host of an API has no pages of ours.
func (p *Portal) elsewhere(w http.ResponseWriter, r *http.Request, word string) {
	p.report(r, "sign_on.refused", word)
	p.send(w, p.cfg.Origin+"/problem/"+word)
}

// refused tells of an answer that isn't believed.
func (p *Portal) refused(w http.ResponseWriter, r *http.Request, c *provider, why, word, back string) {
	p.report(r, "sign_on.refused", fmt.Sprintf("an answer of %s: %s", c.Name, why))
	p.problem(w, r, word, back)
}

// fail tells of a fault of ours, or of the store.
func (p *Portal) fail(w http.ResponseWriter, r *http.Request, err error) {
	p.tools.Log.Error("a login can't go on", "event", r.Header.Get(p.tools.Event), "error", err)
	if hostOf(r) != p.host { // which has no pages of ours
		p.send(w, p.cfg.Origin+"/problem/fault")
		return
	}
	p.problem(w, r, "fault", "")
}

func (p *Portal) report(r *http.Request, reason gate.Reason, note string) {
	p.tools.Report(reason, note+"; at event "+r.Header.Get(p.tools.Event))
}

// about tells in one line whose session it is.
func about(q session.Session) string {
	return fmt.Sprintf("session %s of %s of %s, from %s, until %s", q.ID, q.Subject, q.Issuer, q.Address, q.Ends.UTC().Format(time.RFC3339))
}

// end ends a session, and the streams that it opened.
func (p *Portal) end(ctx context.Context, id, by, why string) error {
	q, err := p.tools.Sessions.End(ctx, id, by, why)
	if errors.Is(err, kept.ErrGone) {
		return nil
	}
	if err == nil {
		p.tools.Report("session.ended", about(q)+"; by "+by+", because: "+why)
	}
	return err
}
