// Package session reads the cookie of a browser whose user has signed in. It promises that a cookie is believed only at the
// host for which it was made and only while its session lives; that a request which changes something, or opens a socket, is
// believed only when no page of another origin can have caused it; and that a cookie which doesn't hold is a refusal, never an
// anonymous caller. The cookie is a random value of which only a digest is kept, so it says nothing and can't be made up. What
// it stops stands in the adversary rows D16, E15, E16, E22, E28 and E32.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// Names of cookies. All that begin with Prefix are the gateway's own: no server behind sees one or can set one.
const (
	Prefix = "__Host-gatehouse-"
	Cookie = Prefix + "session"
)

// FactorTime is the claim of a session that says when its second factor was shown. A token has auth_time for all together.
const FactorTime = "factor_time"

// Why a session cookie is refused. The client learns "no_identity", "bad_origin" or "unavailable"; these stand in the event.
const (
	Malformed   gate.Reason = "identity.session_malformed"   // not a value that was ever made here, or two of them
	Unknown     gate.Reason = "identity.session_unknown"     // no such session at this host
	Ended       gate.Reason = "identity.session_ended"       // over, idle for too long, signed out or ended by somebody
	Provider    gate.Reason = "identity.session_provider"    // signed in by a provider that this API doesn't take, or that is another one by now
	CrossOrigin gate.Reason = "identity.session_cross_site"  // a page of another origin may have caused it: 403
	Unsure      gate.Reason = "identity.session_unsure"      // the store can't be asked: 503
	Unconfirmed gate.Reason = "identity.session_unconfirmed" // the provider could not be asked for too long: 503
)

// Reasons lists all of them.
func Reasons() []gate.Reason {
	return []gate.Reason{Malformed, Unknown, Ended, Provider, CrossOrigin, Unsure, Unconfirmed}
}

// Session is what is known of one session. The cookies that open it are known to the browser alone.
type Session struct {
	ID       string    `json:"id"`
	Provider string    `json:"provider"` // name in the document
	Issuer   string    `json:"issuer"`   // with Subject it names the user
	Subject  string    `json:"subject"`
	Name     string    `json:"name,omitempty"` // for people only: what the provider calls the user
	Roles    []string  `json:"roles,omitempty"`
	Scopes   []string  `json:"scopes,omitempty"`
	Created  time.Time `json:"created"`
	Ends     time.Time `json:"ends"`      // whatever happens
	SignedIn time.Time `json:"signed_in"` // when the user last proved who they are (auth_time)
	Class    string    `json:"acr,omitempty"`
	Methods  []string  `json:"amr,omitempty"`
	Factor   string    `json:"factor,omitempty"`  // the second factor that was shown: otp or recovery
	Stepped  time.Time `json:"stepped,omitzero"`  // when it was
	Far      string    `json:"sid,omitempty"`     // the provider's own id of its session
	Address  string    `json:"address,omitempty"` // from which it began
	Agent    string    `json:"agent,omitempty"`   // the browser's own words, cut
}

// Entry is a session as it is looked up, and when it was used.
type Entry struct {
	Session
	used      atomic.Int64 // last use in seconds
	confirmed atomic.Int64 // when the provider last said that it still holds, in seconds
}

// NewEntry makes the entry of a session. There are many: words that many have in common are kept once.
func NewEntry(s Session) *Entry {
	for _, word := range []*string{&s.Provider, &s.Issuer, &s.Class, &s.Agent, &s.Address} {
		*word = unique.Make(*word).Value()
	}
	s.Roles, s.Scopes, s.Methods = common(s.Roles), common(s.Scopes), common(s.Methods)
	e := &Entry{Session: s}
	e.used.Store(s.Created.Unix())
	e.confirmed.Store(s.Created.Unix())
	return e
}

func common(list []string) []string {
	out := make([]string, len(list))
	for i, word := range list {
		out[i] = unique.Make(word).Value()
	}
	return out
}

// caller is whom the session stands for, with no more than its provider may give. It is made for each request: kept, it would
// be most of what a session takes.
func (e *Entry) caller(from Voucher) *gate.Principal {
	claims := map[string]any{
		"iss": e.Issuer, "sub": e.Subject, "sid": e.ID, "iat": seconds(e.Created), "exp": seconds(e.Ends), "auth_time": seconds(e.SignedIn),
	}
	if e.Class != "" {
		claims["acr"] = e.Class
	}
	methods := e.Methods
	if !e.Stepped.IsZero() {
		methods = append(slices.Clone(methods), e.Factor, "mfa") // RFC 8176
		claims[FactorTime] = seconds(e.Stepped)
	}
	if len(methods) > 0 {
		list := make([]any, len(methods))
		for i, m := range methods {
			list[i] = m
		}
		claims["amr"] = list
	}
	scopes := e.Scopes
	if !from.Any {
		scopes = Among(scopes, from.Scopes)
	}
	return &gate.Principal{Issuer: e.Issuer, Subject: e.Subject, Roles: from.Given(e.Roles), Scopes: scopes, Token: e.ID, Expires: e.Ends, Claims: claims}
}

func seconds(t time.Time) json.Number { return json.Number(strconv.FormatInt(t.Unix(), 10)) }

// Used is when the session was last used, as far as this node knows.
func (e *Entry) Used() time.Time { return time.Unix(e.used.Load(), 0) }

// Note notes a use; an earlier one than is known changes nothing.
func (e *Entry) Note(at time.Time) { later(&e.used, at) }

// Confirmed is when the provider last said that the session still holds.
func (e *Entry) Confirmed() time.Time { return time.Unix(e.confirmed.Load(), 0) }

// Confirm notes that it did.
func (e *Entry) Confirm(at time.Time) { later(&e.confirmed, at) }

func later(in *atomic.Int64, at time.Time) {
	for n := at.Unix(); ; {
		old := in.Load()
		if n <= old || in.CompareAndSwap(old, n) {
			return
		}
	}
}

// What Sessions answer.
var (
	ErrMalformed   = errors.New("this is no session cookie that was made here")
	ErrUnknown     = errors.New("no session at this host has this cookie")
	ErrEnded       = errors.New("the session has ended")
	ErrUnavailable = errors.New("sessions can't be looked up")
	ErrUnconfirmed = errors.New("the provider could not be asked for too long whether the user may still come in")
)

// Sessions knows the sessions of this installation.
type Sessions interface {
	// Find gives the session that a cookie opens at a host, and notes its use. The error is, or wraps, one of those above.
	Find(ctx context.Context, host, cookie string) (*Entry, error)
}

// Watcher is what Sessions may be besides, for streams: what goes on after its head ends with the session that opened it.
type Watcher interface {
	// Watch calls ended, from another goroutine, when the session has ended; stop ends the watch.
	Watch(id string, ended func()) (stop func())
}

// Of gives the id of the session with which a caller came, if it was one.
func Of(p *gate.Principal) (id string, ok bool) {
	id, ok = p.Claims["sid"].(string)
	return id, ok && id != "" && id == p.Token
}

// Voucher is a provider as the document in force has it. A session that was opened under another counts for no more than this.
type Voucher struct {
	Issuer string
	Roles  []string // that it may give
	Scopes []string // that are asked of it
	Any    bool     // it may give any: local users have what an operator of this installation gave them
}

// Given are those of a session's roles that the provider may give.
func (v Voucher) Given(roles []string) []string {
	if v.Any {
		return roles
	}
	return Among(roles, v.Roles)
}

// Among are the words of a list that are among others.
func Among(list, all []string) []string {
	foreign := func(word string) bool { return !slices.Contains(all, word) }
	if !slices.ContainsFunc(list, foreign) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), foreign)
}

// Reader reads the session cookies of one API.
type Reader struct {
	providers map[string]Voucher
	sessions  Sessions
}

// New makes the reader of sessions that one of these providers has vouched for. Without sessions, as in a command that serves
// nothing, every cookie is refused.
func New(providers map[string]Voucher, sessions Sessions) *Reader {
	return &Reader{providers: providers, sessions: sessions}
}

// Read looks for a cookie and judges it.
func (r *Reader) Read(ctx context.Context, x *gate.Exchange) (*gate.Principal, bool, gate.Verdict) {
	value, found, err := ValueOf(x.Request.Cookies)
	switch {
	case err != nil:
		return nil, true, bad(Malformed, "%v", err)
	case !found:
		return nil, false, gate.Allow()
	case r.sessions == nil:
		return nil, true, bad(Unknown, "there are no sessions here")
	}
	e, err := r.sessions.Find(ctx, x.Request.Host, value)
	var from Voucher
	if err == nil {
		from = r.providers[e.Provider]
	}
	switch {
	case errors.Is(err, ErrMalformed):
		return nil, true, bad(Malformed, "%v", err)
	case errors.Is(err, ErrUnknown):
		return nil, true, bad(Unknown, "%v", err)
	case errors.Is(err, ErrEnded):
		return nil, true, bad(Ended, "%v", err)
	case errors.Is(err, ErrUnconfirmed):
		return nil, true, gate.Deny(gate.Unavailable, Unconfirmed, "%v", err).With("Retry-After", "5")
	case err != nil:
		return nil, true, gate.Deny(gate.Unavailable, Unsure, "%v", err).With("Retry-After", "5")
	case from.Issuer == "":
		return nil, true, bad(Provider, "session %s was opened by %s; this API takes %s", e.ID, e.Provider, strings.Join(slices.Sorted(maps.Keys(r.providers)), ", ")).At("guards.identity.sessions.providers")
	case from.Issuer != e.Issuer:
		return nil, true, bad(Provider, "session %s was opened by %s when that was %s; now it is %s", e.ID, e.Provider, e.Issuer, from.Issuer).At("portal.providers")
	}
	if err := sameOrigin(x.Request); err != nil {
		return nil, true, gate.Deny(gate.BadOrigin, CrossOrigin, "%v; a cookie goes along with whatever a page asks for, so a page of another origin may not change anything with it", err)
	}
	return e.caller(from), true, gate.Allow()
}

// ValueOf gives the value of the session cookie among a request's.
func ValueOf(cookies []canon.Pair) (value string, found bool, err error) {
	for _, c := range cookies {
		if c.Name != Cookie {
			continue
		}
		if found {
			return "", true, errors.New("two session cookies: which one counts is anybody's guess")
		}
		value, found = c.Value, true
	}
	return value, found, nil
}

// Cut takes the gateway's own cookies out of those of a request.
func Cut(cookies []canon.Pair) (rest []canon.Pair, cut bool) {
	for i, c := range cookies {
		if !Own(c.Name) {
			continue
		}
		rest = slices.Clone(cookies[:i])
		for _, c := range cookies[i+1:] {
			if !Own(c.Name) {
				rest = append(rest, c)
			}
		}
		return rest, true
	}
	return cookies, false
}

// Own tells that a cookie of this name is the gateway's. Browsers compare the prefix without regard to case, and so may a
// server behind.
func Own(name string) bool {
	return len(name) >= len(Prefix) && strings.EqualFold(name[:len(Prefix)], Prefix)
}

// protection is the standard library's: by Sec-Fetch-Site, else by comparing Origin with the host. What sends neither is no
// browser, and no page can have caused it.
var protection = http.NewCrossOriginProtection()

// sameOrigin refuses what a page of another origin may have caused: a request that changes something, and a handshake for a
// socket, which browsers let any page open.
func sameOrigin(in *canon.Request) error {
	method, host := in.Method, in.Host
	if in.Upgrade != "" {
		method = http.MethodPost
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if in.Port != "" {
		host += ":" + in.Port
	}
	return protection.Check(&http.Request{Method: method, Host: host, Header: in.Fields, URL: &url.URL{Path: "/"}})
}

func bad(reason gate.Reason, format string, args ...any) gate.Verdict {
	return gate.Deny(gate.NoIdentity, reason, format, args...)
}
