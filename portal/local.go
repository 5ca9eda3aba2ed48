package portal

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/portal/factor"
	"github.com/gatehouse-sec/gatehouse/portal/user"
)

// deviceCookie tells that a user has signed in with this browser before, so that strangers who guess don't slow it down.
const (
	deviceCookie = session.Prefix + "device"
	deviceTime   = 90 * 24 * time.Hour
	asDevice     = "device"
)

// device is what the cookie says, sealed.
type device struct {
	ID     string    `json:"i"`
	User   string    `json:"u"` // id
	Chosen time.Time `json:"c"` // when the password was
	Until  time.Time `json:"e"`
}

func (d device) until() time.Time { return d.Until }

// Invites is the address below which people who are invited choose a password, nil where there are no local users.
func (p *Portal) Invites() *string {
	if p.cfg.Local == nil {
		return nil
	}
	at := p.cfg.Origin + "/invitation/"
	return &at
}

// showLocal is the page on which local users sign in.
func (p *Portal) showLocal(w http.ResponseWriter, r *http.Request, status int, to, typed, problem string) {
	p.show(w, r, status, "local", page{Title: "Sign in", To: to, Typed: typed, Problem: problem})
}

// signInLocal judges a name and a password.
func (p *Portal) signInLocal(w http.ResponseWriter, r *http.Request) {
	if err := p.protect.Check(r); err != nil {
		p.elsewhere(w, r, "foreign")
		return
	}
	to := r.PostFormValue("to")
	n, err := unsealed[note](p, asNote, to)
	if errors.Is(err, errOver) {
		p.send(w, n.Origin+n.To) // which begins anew
		return
	}
	_, providers := p.wanted(n.Host, n.To)
	if err != nil || p.cfg.Local == nil || r.PathValue("provider") != LocalName || !slices.Contains(providers, LocalName) {
		p.problem(w, r, "link", "")
		return
	}
	try := user.Try{Name: r.PostFormValue("name"), Password: r.PostFormValue("password")}
	try.From, _ = netip.ParseAddr(r.Header.Get("X-Forwarded-For")) // who asks, as the listener knows it
	if d := p.deviceOf(r); d != nil {
		try.Known = user.Device{ID: d.ID, User: d.User, Chosen: d.Chosen}
	}
	u, wait, err := p.tools.Users.SignIn(r.Context(), try)
	switch {
	case errors.Is(err, user.ErrWrong):
		p.report(r, "sign_on.wrong", "a name or a password is wrong, from "+r.Header.Get("X-Forwarded-For"))
		p.showLocal(w, r, http.StatusForbidden, to, try.Name, "The name or the password is wrong.")
		return
	case errors.Is(err, user.ErrSlow), errors.Is(err, user.ErrBusy):
		wait = max(wait, 2*time.Second)
		p.report(r, "sign_on.slowed", fmt.Sprintf("%v, from %s", err, r.Header.Get("X-Forwarded-For")))
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		p.showLocal(w, r, http.StatusTooManyRequests, to, try.Name, "There were too many tries. Wait "+inWords(wait)+", and try again.")
		return
	case err != nil:
		p.fail(w, r, err)
		return
	}
	p.welcome(w, r, u, n)
}

func inWords(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d seconds", int((d+time.Second-1)/time.Second))
	}
	n := int((d + time.Minute - 1) / time.Minute)
	if n == 1 {
		return "a minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

// welcome opens the session of a local user, and remembers the browser.
func (p *Portal) welcome(w http.ResponseWriter, r *http.Request, u user.User, n note) {
	q := session.Session{
		Provider: LocalName, Issuer: p.cfg.Origin, Subject: u.ID, Name: u.Name, Roles: u.Roles, SignedIn: p.tools.Now().UTC().Truncate(time.Second),
		Methods: []string{"pwd"}, Address: r.Header.Get("X-Forwarded-For"), Agent: agentOf(r.UserAgent()),
	}
	id, err := p.enter(w, r, q, kept.Grant{})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	// Somebody who was removed, reset or given other roles between the password and the session doesn't come in with what was before.
	if now, err := p.tools.Users.Get(r.Context(), u.Name); err != nil || now.ID != u.ID || !now.Chosen.Equal(u.Chosen) || !slices.Equal(now.Roles, u.Roles) {
		if failed := p.end(r.Context(), id, "gatehouse", "the user was changed while signing in"); failed != nil || err != nil && !errors.Is(err, user.ErrNone) {
			p.fail(w, r, errors.Join(err, failed))
			return
		}
		setCookie(w, session.Cookie, "", -1)
		p.problem(w, r, "denied", "")
		return
	}
	if d := p.deviceOf(r); d == nil || d.User != u.ID || !d.Chosen.Equal(u.Chosen) || d.Until.Sub(p.tools.Now()) < deviceTime/2 {
		if err := p.remember(w, u); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	if n.Origin == "" {
		p.send(w, p.cfg.Origin+"/")
		return
	}
	p.goOn(w, r, p.tools.Sessions.ByID(id), n)
}

func (p *Portal) remember(w http.ResponseWriter, u user.User) error {
	d := device{User: u.ID, Chosen: u.Chosen, Until: p.tools.Now().Add(deviceTime)}
	var err error
	if d.ID, err = p.random(); err != nil {
		return err
	}
	text, err := p.sealed(asDevice, d)
	if err == nil {
		setCookie(w, deviceCookie, text, int(deviceTime/time.Second))
	}
	return err
}

func (p *Portal) deviceOf(r *http.Request) *device {
	all := r.CookiesNamed(deviceCookie)
	if len(all) != 1 {
		return nil
	}
	d, err := unsealed[device](p, asDevice, all[0].Value)
	if err != nil {
		return nil
	}
	return &d
}

// invitation is where somebody who is invited chooses a password.
func (p *Portal) invitation(w http.ResponseWriter, r *http.Request) {
	u, ok := p.invited(w, r)
	if ok {
		p.show(w, r, http.StatusOK, "invitation", page{Title: "Choose a password", Name: u.Name})
	}
}

func (p *Portal) invited(w http.ResponseWriter, r *http.Request) (u user.User, ok bool) {
	if p.cfg.Local == nil {
		p.problem(w, r, "invitation", "")
		return u, false
	}
	u, err := p.tools.Users.Invited(r.Context(), r.PathValue("link"))
	switch {
	case errors.Is(err, user.ErrLink):
		p.problem(w, r, "invitation", "")
	case err != nil:
		p.fail(w, r, err)
	}
	return u, err == nil
}

func (p *Portal) choosePassword(w http.ResponseWriter, r *http.Request) {
	if err := p.protect.Check(r); err != nil {
		p.elsewhere(w, r, "foreign")
		return
	}
	u, ok := p.invited(w, r)
	if !ok {
		return
	}
	password := r.PostFormValue("password")
	wrong := user.CheckPassword(u.Name, password)
	if wrong == "" && password != r.PostFormValue("again") {
		wrong = "The two passwords are not the same."
	}
	if wrong != "" {
		p.show(w, r, http.StatusBadRequest, "invitation", page{Title: "Choose a password", Name: u.Name, Problem: wrong})
		return
	}
	u, err := p.tools.Users.Choose(r.Context(), r.PathValue("link"), password)
	switch {
	case errors.Is(err, user.ErrLink):
		p.problem(w, r, "invitation", "")
		return
	case errors.Is(err, user.ErrBusy):
		p.show(w, r, http.StatusTooManyRequests, "invitation", page{Title: "Choose a password", Name: u.Name, Problem: "Too much is going on at the moment. Try again in some seconds."})
		return
	case err != nil:
		p.fail(w, r, err)
		return
	}
	p.report(r, "user.password_chosen", u.Name+" ("+u.ID+")")
	// Whoever has just come by an invitation may enrol a first factor: nobody can have stolen the password yet.
	if err := p.tools.Factors.Permit(r.Context(), factor.Whose{Issuer: p.cfg.Origin, Subject: u.ID}, permitTime); err != nil {
		p.fail(w, r, err)
		return
	}
	p.welcome(w, r, u, note{})
}
