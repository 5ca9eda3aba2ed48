package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// answers is a Sessions that always says the same.
type answers struct {
	entry *session.Entry
	err   error
}

func (a answers) Find(context.Context, string, string) (*session.Entry, error) { return a.entry, a.err }

func exchange(method string, fields http.Header, cookies ...canon.Pair) *gate.Exchange {
	return &gate.Exchange{Request: &canon.Request{Method: method, Host: "app.example", Scheme: "https", Path: "/", Fields: fields, Cookies: cookies}}
}

var alice = session.Session{ID: "s1", Provider: "corp", Issuer: "https://idp.example", Subject: "alice", Roles: []string{"customer"}, Scopes: []string{"openid"},
	Created: time.Unix(1000, 0), Ends: time.Unix(2000, 0), SignedIn: time.Unix(900, 0), Class: "high", Methods: []string{"pwd", "otp"}}

var corp = map[string]session.Voucher{"corp": {Issuer: "https://idp.example", Roles: []string{"customer", "support"}, Scopes: []string{"openid", "profile"}}}

func TestRead(t *testing.T) {
	mine := canon.Pair{Name: session.Cookie, Value: "v"}
	good := answers{entry: session.NewEntry(alice)}
	for name, c := range map[string]struct {
		sessions session.Sessions
		x        *gate.Exchange
		found    bool
		code     gate.Code
		reason   gate.Reason
	}{
		"good":                    {good, exchange("GET", nil, canon.Pair{Name: "a", Value: "b"}, mine), true, "", ""},
		"none":                    {good, exchange("GET", nil, canon.Pair{Name: "a", Value: "b"}), false, "", ""},
		"another case":            {good, exchange("GET", nil, canon.Pair{Name: "__host-gatehouse-session", Value: "v"}), false, "", ""},
		"without the prefix":      {good, exchange("GET", nil, canon.Pair{Name: "gatehouse-session", Value: "v"}), false, "", ""},
		"two":                     {good, exchange("GET", nil, mine, mine), true, gate.NoIdentity, session.Malformed},
		"nothing is served":       {nil, exchange("GET", nil, mine), true, gate.NoIdentity, session.Unknown},
		"malformed":               {answers{err: session.ErrMalformed}, exchange("GET", nil, mine), true, gate.NoIdentity, session.Malformed},
		"unknown":                 {answers{err: session.ErrUnknown}, exchange("GET", nil, mine), true, gate.NoIdentity, session.Unknown},
		"ended":                   {answers{err: fmt.Errorf("%w: idle", session.ErrEnded)}, exchange("GET", nil, mine), true, gate.NoIdentity, session.Ended},
		"unsure":                  {answers{err: fmt.Errorf("%w: store", session.ErrUnavailable)}, exchange("GET", nil, mine), true, gate.Unavailable, session.Unsure},
		"another fault":           {answers{err: errors.New("any")}, exchange("GET", nil, mine), true, gate.Unavailable, session.Unsure},
		"unconfirmed":             {answers{err: session.ErrUnconfirmed}, exchange("GET", nil, mine), true, gate.Unavailable, session.Unconfirmed},
		"cross-site reading":      {good, exchange("GET", http.Header{"Sec-Fetch-Site": {"cross-site"}}, mine), true, "", ""},
		"cross-site writing":      {good, exchange("POST", http.Header{"Sec-Fetch-Site": {"cross-site"}}, mine), true, gate.BadOrigin, session.CrossOrigin},
		"same-site deleting":      {good, exchange("DELETE", http.Header{"Sec-Fetch-Site": {"same-site"}}, mine), true, gate.BadOrigin, session.CrossOrigin},
		"same-origin writing":     {good, exchange("PUT", http.Header{"Sec-Fetch-Site": {"same-origin"}}, mine), true, "", ""},
		"typed in":                {good, exchange("POST", http.Header{"Sec-Fetch-Site": {"none"}}, mine), true, "", ""},
		"an origin like the host": {good, exchange("PATCH", http.Header{"Origin": {"https://app.example"}}, mine), true, "", ""},
		"an origin of its own":    {good, exchange("PATCH", http.Header{"Origin": {"https://evil.example"}}, mine), true, gate.BadOrigin, session.CrossOrigin},
		"no browser":              {good, exchange("POST", http.Header{}, mine), true, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "nothing is served" {
				c.sessions = nil
			}
			p, found, v := session.New(corp, c.sessions).Read(t.Context(), c.x)
			if found != c.found || v.Code != c.code || v.Reason != c.reason || v.Allowed() != (c.code == "") || (p != nil) != (found && c.code == "") {
				t.Errorf("found %t, %s %s, %+v", found, v.Code, v.Reason, p)
			}
		})
	}
	if _, _, v := session.New(map[string]session.Voucher{"other": corp["corp"]}, good).Read(t.Context(), exchange("GET", nil, mine)); v.Reason != session.Provider {
		t.Errorf("by another provider: %s", v.Reason)
	}
}

// A socket is opened by GET, and any page may open one.
func TestSockets(t *testing.T) {
	x := exchange("GET", http.Header{"Origin": {"https://evil.example"}}, canon.Pair{Name: session.Cookie, Value: "v"})
	x.Request.Upgrade = "websocket"
	r := session.New(corp, answers{entry: session.NewEntry(alice)})
	if _, _, v := r.Read(t.Context(), x); v.Reason != session.CrossOrigin {
		t.Errorf("%s", v.Reason)
	}
	x.Request.Fields.Set("Origin", "https://app.example:8443")
	x.Request.Port = "8443"
	if _, _, v := r.Read(t.Context(), x); !v.Allowed() {
		t.Errorf("%s", v.Reason)
	}
}

func TestCaller(t *testing.T) {
	r := session.New(corp, answers{entry: session.NewEntry(alice)})
	p, _, _ := r.Read(t.Context(), exchange("GET", nil, canon.Pair{Name: session.Cookie, Value: "v"}))
	if p == nil || p.Issuer != alice.Issuer || p.Subject != "alice" || p.Token != "s1" || !p.Expires.Equal(alice.Ends) || p.Roles[0] != "customer" || p.Scopes[0] != "openid" {
		t.Fatalf("%+v", p)
	}
	if got := fmt.Sprint(p.Claims); got != "map[acr:high amr:[pwd otp] auth_time:900 exp:2000 iat:1000 iss:https://idp.example sid:s1 sub:alice]" {
		t.Error(got)
	}
}

// A document counts for sessions that live: one that was opened under another counts for no more than a new one could.
func TestOlderDocument(t *testing.T) {
	x := func() *gate.Exchange { return exchange("GET", nil, canon.Pair{Name: session.Cookie, Value: "v"}) }
	q := alice
	q.Roles, q.Scopes = []string{"admin", "customer"}, []string{"openid", "orders:write"}
	p, _, v := session.New(corp, answers{entry: session.NewEntry(q)}).Read(t.Context(), x())
	if p == nil || fmt.Sprint(p.Roles, p.Scopes) != "[customer] [openid]" {
		t.Errorf("roles and scopes that the document doesn't name any more: %+v %v", p, v)
	}
	q.Issuer = "https://old.example"
	if p, _, v := session.New(corp, answers{entry: session.NewEntry(q)}).Read(t.Context(), x()); p != nil || v.Reason != session.Provider {
		t.Errorf("a provider whose issuer was another: %+v %v", p, v)
	}
}

func TestCut(t *testing.T) {
	pairs := func(names ...string) (list []canon.Pair) {
		for _, n := range names {
			list = append(list, canon.Pair{Name: n, Value: "v"})
		}
		return list
	}
	for name, c := range map[string]struct{ in, out []canon.Pair }{
		"none": {nil, nil}, "others": {pairs("a", "b"), pairs("a", "b")}, "ours": {pairs("a", session.Cookie, "b", "__HOST-GATEHOUSE-begin"), pairs("a", "b")},
		"ours alone": {pairs(session.Cookie), nil}, "like ours": {pairs("__Host-gatehouse", "x__Host-gatehouse-session"), pairs("__Host-gatehouse", "x__Host-gatehouse-session")},
	} {
		got, cut := session.Cut(c.in)
		if fmt.Sprint(got) != fmt.Sprint(c.out) || cut != (len(c.in) != len(c.out)) {
			t.Errorf("%s: %v %t", name, got, cut)
		}
	}
}
