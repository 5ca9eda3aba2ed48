package portal

import (
	"errors"
	"net/http"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/oidc"
)

// signOut ends the session of this browser, here and at the provider. It is told by a button of ours or by a page of this very
// host: no other page can do it.
func (p *Portal) signOut(w http.ResponseWriter, r *http.Request) {
	if err := p.protect.Check(r); err != nil {
		p.elsewhere(w, r, "foreign")
		return
	}
	location := p.cfg.Origin + "/signed-out"
	q, err := p.toEnd(r)
	if err == nil && q.ID != "" {
		err = p.end(r.Context(), q.ID, "the user", "signed out")
	}
	if err != nil { // the cookie stays, so that the user can try again: without it nobody could end the session
		p.fail(w, r, err)
		return
	}
	setCookie(w, session.Cookie, "", -1)
	if c := p.providers[q.Provider]; c != nil {
		// The ID token stays where it is: an address is written down everywhere. The provider may ask the user instead.
		if there, ok := c.oidc.EndSession(r.Context(), "", location, ""); ok {
			location = there
		}
	}
	p.send(w, location)
}

// toEnd is the session of which this browser has a cookie, whether it holds at this moment or not; one without an id when there
// is none. An error says that it isn't known.
func (p *Portal) toEnd(r *http.Request) (session.Session, error) {
	all := r.CookiesNamed(session.Cookie)
	if len(all) != 1 {
		return session.Session{}, nil
	}
	q, err := p.tools.Sessions.Whose(r.Context(), hostOf(r), all[0].Value)
	if errors.Is(err, session.ErrMalformed) || errors.Is(err, session.ErrUnknown) {
		return session.Session{}, nil
	}
	return q, err
}

// endOne ends one of the user's sessions, in this browser or another.
func (p *Portal) endOne(w http.ResponseWriter, r *http.Request) {
	if err := p.protect.Check(r); err != nil {
		p.elsewhere(w, r, "foreign")
		return
	}
	e := p.signedIn(r)
	id := r.PostFormValue("session")
	if e == nil || id == e.ID {
		p.signOut(w, r)
		return
	}
	if other := p.tools.Sessions.ByID(id); other != nil && other.Issuer == e.Issuer && other.Subject == e.Subject {
		if err := p.end(r.Context(), id, "the user", "signed out from another browser"); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	p.send(w, p.cfg.Origin+"/")
}

// backChannel is where a provider tells that a user has signed out there (OpenID Connect Back-Channel Logout 1.0). A session
// that began after the token was made stays, so that a token which is shown again ends nothing; and it is refused (row E38).
func (p *Portal) backChannel(w http.ResponseWriter, r *http.Request) {
	c := p.providers[r.PathValue("provider")]
	if c == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	bad := func(why string) {
		p.report(r, "sign_on.logout_refused", c.Name+": "+why)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error": "invalid_request"}`)) // whoever is gone misses it
	}
	l, err := c.oidc.Logout(r.Context(), r.PostFormValue("logout_token"))
	switch {
	case errors.Is(err, oidc.ErrUnavailable):
		p.report(r, "sign_on.provider", "a logout can't be verified: "+err.Error())
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case err != nil:
		bad(err.Error())
		return
	}
	ended, err := p.tools.Sessions.EndAll(r.Context(), func(q session.Session) bool {
		// A session of which the provider didn't say its id may be the one that is meant.
		return q.Issuer == c.Issuer && (l.SessionID == "" || q.Far == l.SessionID || q.Far == "" && l.Subject != "") &&
			(l.Subject == "" || q.Subject == l.Subject) && !q.Created.After(l.Issued.Add(oidc.DefaultSkew))
	}, c.Name, "signed out there")
	for _, q := range ended {
		p.report(r, "session.ended", about(q)+"; signed out at "+c.Name)
	}
	if err != nil {
		p.tools.Log.Error("sessions can't be ended that a provider has ended", "provider", c.Name, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	first, err := p.tools.Once.First(r.Context(), "logout/"+digest(c.Issuer+" "+l.ID), l.Expires)
	switch {
	case err != nil:
		w.WriteHeader(http.StatusServiceUnavailable)
	case !first:
		bad("a logout token was shown before")
	}
}

// mine are the sessions of a user, the one of this browser first.
func (p *Portal) mine(e *session.Entry) (list []kept.Listed) {
	for _, l := range p.tools.Sessions.List(false) {
		switch {
		case l.Issuer != e.Issuer || l.Subject != e.Subject:
		case l.ID == e.ID:
			list = append([]kept.Listed{l}, list...)
		default:
			list = append(list, l)
		}
	}
	return list
}
