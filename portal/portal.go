// Package portal is where people sign in with a browser: pages on an origin of their own, at which nothing else is served, and
// two addresses on each host of an API, by which a session gets there. It promises that a login which somebody else began is
// never finished in a browser, that an answer of one provider is never taken for another's, that nobody is led to a place
// which the document doesn't name, that a session is opened by who just proved who they are and by nobody else, and that
// every error says what to do next. What it stops stands in the adversary rows E10 to E16, E18, E19, E22, E34, E35 and E38.
//
// The way of a login: a host of an API sends the browser here with a sealed note of where it wants back to, bound to a cookie
// of that host; here the browser gets a cookie too, and goes to the provider with a sealed state bound to that; what comes back
// opens a session, with a cookie for this origin; and a sealed code, good once and for a minute, carries it to the host, which
// takes it only from the browser that began there.
package portal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed" // the contracts
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/expression"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/oidc"
	"github.com/gatehouse-sec/gatehouse/portal/factor"
	"github.com/gatehouse-sec/gatehouse/portal/user"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// HostBase is the path on hosts of APIs below which the gateway's own addresses are.
const HostBase = "/.gatehouse"

// Contracts of what is served at the portal's origin, and below HostBase at hosts of APIs.
var (
	//go:embed portal.yaml
	OriginContract []byte
	//go:embed host.yaml
	HostContract []byte
)

// Once remembers what was shown once, on all nodes together.
type Once interface {
	// First tells that nobody has shown key before, and remembers it until a time.
	First(ctx context.Context, key string, until time.Time) (bool, error)
}

// Tools is what the portal needs from outside.
type Tools struct {
	Now       func() time.Time
	Rand      io.Reader
	Log       *slog.Logger
	Key       []byte // of 32 bytes, the same on all nodes: seals what browsers carry
	Once      Once
	Sessions  *kept.Sessions
	Users     *user.Users                                   // local users
	Factors   *factor.Factors                               // second factors, of all users
	Keys      *keys.Source                                  // providers' keys and servers
	Secret    func(secret.Ref) (secret.Value, error)        // what a reference refers to now
	Providers func(host string, segments []string) []string // by which users can sign in for what is there
	Report    func(reason gate.Reason, note string)         // tells what happened to somebody's session
	Event     string                                        // name of the field in which handlers learn the id of their request's event
}

// Portal is one document's. It never changes.
type Portal struct {
	cfg       Config
	tools     Tools
	host      string
	seal      cipher.AEAD
	providers map[string]*provider
	vouchers  map[string]session.Voucher // the local users among them
	protect   *http.CrossOriginProtection
	tried     tried
}

// provider is one at which users sign in.
type provider struct {
	Provider
	oidc  *oidc.Provider
	roles *expression.Words // nil: none
}

// New makes the portal of a section that Check has found good.
func New(cfg Config, t Tools) (*Portal, error) {
	cfg = cfg.WithDefaults()
	p := &Portal{cfg: cfg, tools: t, host: cfg.Host(), providers: map[string]*provider{}, vouchers: cfg.Vouchers(), protect: http.NewCrossOriginProtection()}
	block, err := aes.NewCipher(p.derive("seal"))
	if err != nil {
		return nil, err
	}
	if p.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	var wrong mistake.List
	for i, c := range cfg.Providers {
		one, err := p.open(c)
		wrong.Under(fmt.Sprintf("providers[%d]", i), err)
		p.providers[c.Name] = one
	}
	return p, wrong.Err()
}

// open makes what speaks to a provider.
func (p *Portal) open(c Provider) (*provider, error) {
	roles, err := rolesOf(c.Roles)
	if err != nil {
		return nil, mistake.List{{Path: "roles", What: err.Error()}}
	}
	server, err := c.Server(p.tools.Now())
	if err != nil {
		return nil, mistake.List{{Path: "ca", What: err.Error()}}
	}
	ring, err := p.tools.Keys.Open(server)
	if err != nil {
		return nil, mistake.List{{Path: "ca", What: err.Error()}}
	}
	o, err := oidc.New(oidc.Config{
		Issuer: c.Issuer, ClientID: c.Client, Auth: p.auth(c), Scopes: c.Scopes, Redirect: p.cfg.Origin + "/callback/" + c.Name,
		HTTP:     func(u *url.URL) (*http.Client, error) { return p.tools.Keys.Client(server, u) },
		CheckURL: func(text string) (*url.URL, error) { return keys.CheckURL(text, true) },
		Keys:     found{ring}, Now: p.tools.Now, Rand: p.tools.Rand,
	})
	if err != nil {
		return nil, mistake.List{{Path: "issuer", What: err.Error()}}
	}
	return &provider{Provider: c, oidc: o, roles: roles}, nil
}

// auth is how the gateway shows a provider who it is.
func (p *Portal) auth(c Provider) (a oidc.Auth) {
	switch {
	case !c.Secret.IsZero():
		a.Secret = func() ([]byte, error) {
			v, err := p.tools.Secret(c.Secret)
			return v.Reveal(), err
		}
	case !c.Key.IsZero():
		a.Key = func() (oidc.SigningKey, error) {
			v, err := p.tools.Secret(c.Key)
			if err != nil {
				return oidc.SigningKey{}, err
			}
			return signingKey(v.Reveal())
		}
	}
	return a
}

// found is a ring of keys as package oidc asks for one.
type found struct{ *keys.Ring }

func (r found) Find(ctx context.Context, now time.Time, kid string, algorithm jose.SignatureAlgorithm) ([]keys.Key, error) {
	list, _, err := r.Ring.Find(ctx, now, kid, algorithm)
	if errors.Is(err, keys.ErrUnavailable) {
		err = errors.Join(err, oidc.ErrUnavailable)
	}
	return list, err
}

// derive gives a key of its own for each use.
func (p *Portal) derive(label string, parts ...string) []byte {
	h := hmac.New(sha256.New, p.tools.Key)
	for _, s := range append([]string{label}, parts...) {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return h.Sum(nil)
}

// random makes a value that nobody can guess.
func (p *Portal) random() (string, error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(p.tools.Rand, raw); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

func digest(s string) string {
	d := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(d[:])
}

// Issuers are those of the providers, the local users' among them, by name.
func (p *Portal) Issuers() map[string]string {
	all := map[string]string{}
	for name, v := range p.vouchers {
		all[name] = v.Issuer
	}
	return all
}

// Limits are how long sessions live.
func (p *Portal) Limits() kept.Limits {
	s := p.cfg.Sessions
	return kept.Limits{Idle: s.Idle, Absolute: s.Absolute, Confirm: s.Confirm, Most: s.Most}
}

// granted are the roles that a provider gives a user: those that the document lets it give.
func (c *provider) granted(claims map[string]any) ([]string, error) {
	if c.roles == nil {
		return nil, nil
	}
	list, err := c.roles.Of(claims)
	if err != nil {
		return nil, fmt.Errorf("the roles of %s: %w", c.Name, err)
	}
	list = slices.DeleteFunc(list, func(role string) bool { return !slices.Contains(c.Grants, role) })
	slices.Sort(list)
	return slices.Compact(list), nil
}

// rolesOf loads the expression that finds roles in claims; nil without one.
func rolesOf(text string) (*expression.Words, error) {
	if text == "" {
		return nil, nil
	}
	e, err := expression.New(expression.Scope{Claims: true})
	if err != nil {
		return nil, err
	}
	return e.CompileWords(text)
}
