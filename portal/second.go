package portal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image/png"
	"net/http"
	"slices"
	"time"

	"github.com/pquerna/otp"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/portal/factor"
)

const (
	permitTime = 15 * time.Minute // after a password was chosen, to enrol a first factor
	freshTime  = 5 * time.Minute  // since the sign-in, and since a factor was shown, to enrol one
	draftTime  = 10 * time.Minute
	asDraft    = "draft"
	pictureOf  = 200 // pixels
)

// draft is a secret of an app that is being enrolled.
type draft struct {
	Secret  string    `json:"s"`
	Address string    `json:"a"`
	Session string    `json:"i"`
	Until   time.Time `json:"u"`
}

func (d draft) until() time.Time { return d.Until }

// age is how long ago a sign-in may be, nil for any time. Where a second factor is demanded, that is what must be fresh.
func (n note) age() *time.Duration {
	if n.Factor || n.MaxAge == 0 {
		return nil
	}
	d := time.Duration(n.MaxAge) * time.Second
	return &d
}

// lately tells that a sign-in is fresh enough for where its browser wants back to.
func (p *Portal) lately(e *session.Entry, n note) bool {
	age := n.age()
	return age == nil || p.tools.Now().Sub(e.SignedIn) < *age
}

// goOn leads who has signed in back, by way of the second factor where one is demanded.
func (p *Portal) goOn(w http.ResponseWriter, r *http.Request, e *session.Entry, n note) {
	switch {
	case e == nil:
		p.fail(w, r, errors.New("a session that was opened just now is not there"))
	case n.Factor && !p.stepped(e, n):
		carried, err := p.sealed(asNote, n)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		p.send(w, p.cfg.Origin+"/factor?to="+carried)
	default:
		p.handOn(w, r, e.ID, n)
	}
}

// stepped tells that the second factor was shown, and lately enough.
func (p *Portal) stepped(e *session.Entry, n note) bool {
	return !e.Stepped.IsZero() && (n.MaxAge == 0 || p.tools.Now().Sub(e.Stepped) < time.Duration(n.MaxAge)*time.Second)
}

func whose(e *session.Entry) factor.Whose {
	return factor.Whose{Issuer: e.Issuer, Subject: e.Subject}
}

// askFactor is the page on which a second factor is shown.
func (p *Portal) askFactor(w http.ResponseWriter, r *http.Request) {
	n, ok := p.noted(w, r)
	if !ok {
		return
	}
	e := p.signedIn(r)
	if e == nil {
		p.send(w, p.cfg.Origin+"/sign-in?to="+r.URL.Query().Get("to"))
		return
	}
	has, may, err := p.tools.Factors.Has(r.Context(), whose(e))
	switch {
	case err != nil:
		p.fail(w, r, err)
	case has:
		p.show(w, r, http.StatusOK, "factor", page{Title: "Confirm that it is you", To: r.URL.Query().Get("to")})
	case may:
		p.send(w, p.cfg.Origin+"/factor/enrol?to="+r.URL.Query().Get("to"))
	default:
		p.problem(w, r, "factor", n.Origin+"/")
	}
}

// showFactor judges a code.
func (p *Portal) showFactor(w http.ResponseWriter, r *http.Request) {
	if err := p.protect.Check(r); err != nil {
		p.elsewhere(w, r, "foreign")
		return
	}
	e, to := p.signedIn(r), r.PostFormValue("to")
	n, err := unsealed[note](p, asNote, to)
	if err != nil || e == nil {
		p.problem(w, r, "link", n.Origin+n.To)
		return
	}
	method, left, err := p.tools.Factors.Show(r.Context(), whose(e), r.PostFormValue("code"))
	if problem, status := inWordsOf(err); problem != "" {
		p.report(r, "sign_on.factor_refused", fmt.Sprintf("%v; of %s of %s", err, e.Subject, e.Issuer))
		p.show(w, r, status, "factor", page{Title: "Confirm that it is you", To: to, Problem: problem})
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if e, err = p.step(w, r, e, method); err != nil {
		p.fail(w, r, err)
		return
	}
	if method == "recovery" {
		p.report(r, "factor.recovery_used", fmt.Sprintf("by %s of %s; %d are left", e.Subject, e.Issuer, left))
	}
	if n.Host == p.host { // to a page of ours
		p.send(w, p.cfg.Origin+n.To)
		return
	}
	p.handOn(w, r, e.ID, n)
}

// inWordsOf says what is wrong with a code; "" for what is a fault, or none.
func inWordsOf(err error) (text string, status int) {
	var slow factor.Slow
	switch {
	case errors.As(err, &slow):
		return "There were too many tries. Wait " + inWords(slow.Wait) + ", and try again.", http.StatusTooManyRequests
	case errors.Is(err, factor.ErrChanged), errors.Is(err, factor.ErrNone):
		return "Something was changed at the same time. Try again.", http.StatusConflict
	case errors.Is(err, factor.ErrWrong):
		return "The code is wrong, or was used before. Wait for the next one, and look whether the clock of your device is right.", http.StatusForbidden
	}
	return "", 0
}

// step notes that a session's user has shown a second factor. The cookie is another one from then on.
func (p *Portal) step(w http.ResponseWriter, r *http.Request, e *session.Entry, method string) (*session.Entry, error) {
	q, cookie, err := p.tools.Sessions.Step(r.Context(), e.ID, p.host, method)
	if err != nil {
		return e, err
	}
	setCookie(w, session.Cookie, cookie, p.age(q))
	p.report(r, "session.stepped_up", about(q)+", by "+method)
	if now := p.tools.Sessions.ByID(e.ID); now != nil {
		e = now
	}
	return e, nil
}

// mayEnrol tells whether who is signed in may enrol a factor now: after a fresh sign-in, with a factor that was shown just now, or
// with a permit for a first one. The page that says why not is shown.
func (p *Portal) mayEnrol(w http.ResponseWriter, r *http.Request) *session.Entry {
	e := p.signedIn(r)
	if e == nil {
		p.problem(w, r, "stale", "")
		return nil
	}
	now := p.tools.Now()
	has, may, err := p.tools.Factors.Has(r.Context(), whose(e))
	switch {
	case err != nil:
		p.fail(w, r, err)
	case !has && !may:
		p.problem(w, r, "factor", "")
	case now.Sub(e.SignedIn) >= freshTime:
		p.problem(w, r, "stale", "")
	case has && (e.Stepped.IsZero() || now.Sub(e.Stepped) >= freshTime):
		p.shownFirst(w, r)
	default:
		return e
	}
	return nil
}

// shownFirst leads who wants to replace a factor by way of showing it.
func (p *Portal) shownFirst(w http.ResponseWriter, r *http.Request) {
	carried, err := p.sealed(asNote, note{Origin: p.cfg.Origin, Host: p.host, To: "/factor/enrol", Factor: true, Until: p.tools.Now().Add(draftTime)})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.send(w, p.cfg.Origin+"/factor?to="+carried)
}

// draftFactor is the page on which an app is enrolled.
func (p *Portal) draftFactor(w http.ResponseWriter, r *http.Request) {
	e := p.mayEnrol(w, r)
	if e == nil {
		return
	}
	name := e.Name
	if name == "" {
		name = e.Subject
	}
	secret, address, err := p.tools.Factors.Draft(p.host, name)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.showDraft(w, r, http.StatusOK, draft{Secret: secret, Address: address, Session: e.ID, Until: p.tools.Now().Add(draftTime)}, r.URL.Query().Get("to"), "")
}

func (p *Portal) showDraft(w http.ResponseWriter, r *http.Request, status int, d draft, to, problem string) {
	v := page{Title: "Add an authenticator app", To: to, Problem: problem, Secret: spaced(d.Secret)}
	var err error
	if v.Carried, err = p.sealed(asDraft, d); err != nil {
		p.fail(w, r, err)
		return
	}
	if v.Picture, err = picture(d.Address); err != nil {
		p.fail(w, r, err)
		return
	}
	v.Link = template.URL(d.Address) //nolint:gosec // it is ours, with every part escaped
	p.show(w, r, status, "enrol", v)
}

// picture is a code that a camera reads.
func picture(address string) (template.URL, error) {
	k, err := otp.NewKeyFromURL(address)
	if err != nil {
		return "", err
	}
	image, err := k.Image(pictureOf, pictureOf)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil //nolint:gosec // made here
}

func spaced(s string) string {
	var parts []byte
	for i := range len(s) {
		if i > 0 && i%4 == 0 {
			parts = append(parts, ' ')
		}
		parts = append(parts, s[i])
	}
	return string(parts)
}

// enrolFactor takes the first code of an app.
func (p *Portal) enrolFactor(w http.ResponseWriter, r *http.Request) {
	if err := p.protect.Check(r); err != nil {
		p.elsewhere(w, r, "foreign")
		return
	}
	e := p.mayEnrol(w, r)
	if e == nil {
		return
	}
	d, err := unsealed[draft](p, asDraft, r.PostFormValue("carried"))
	to := r.PostFormValue("to")
	if err != nil || d.Session != e.ID {
		p.problem(w, r, "stale", "")
		return
	}
	codes, err := p.tools.Factors.Enrol(r.Context(), whose(e), d.Secret, r.PostFormValue("code"), !e.Stepped.IsZero())
	if problem, status := inWordsOf(err); problem != "" {
		p.showDraft(w, r, status, d, to, problem)
		return
	}
	switch {
	case errors.Is(err, factor.ErrPermit):
		p.problem(w, r, "factor", "")
		return
	case err != nil:
		p.fail(w, r, err)
		return
	}
	p.report(r, "factor.enrolled", fmt.Sprintf("by %s of %s", e.Subject, e.Issuer))
	if _, err := p.step(w, r, e, "otp"); err != nil { // the codes are shown all the same: this is the only time that they are anywhere
		p.tools.Log.Warn("a second factor was enrolled, and the session doesn't know it", "session", e.ID, "error", err)
	}
	back := p.cfg.Origin + "/"
	if to != "" {
		back = p.cfg.Origin + "/sign-in?to=" + to
	}
	p.show(w, r, http.StatusOK, "recovery", page{Title: "Keep these codes", Codes: slices.Clone(codes), Back: back})
}
