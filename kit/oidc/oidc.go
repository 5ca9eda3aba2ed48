// Package oidc is the relying party's side of OpenID Connect: it sends a browser to a provider to log somebody in (code flow
// with PKCE, by a pushed request where the provider takes one), judges what the browser brings back, and trades it for tokens.
//
// It promises that an answer counts only when it is that of the configured provider to the request that was made: state,
// issuer (RFC 9207), nonce and verifier are demanded, whatever the provider would let pass. It promises that nothing is said
// of a token's claims before its signature holds, that only judged addresses are spoken to, within bounds and without
// redirects, and that no secret, code, token or query is ever part of an error or of what a value prints.
//
// Whom an answer belongs to is for the caller to see to, who keeps state, nonce and verifier with the browser, and that a
// logout token counts once. The user's claims come from the ID token: the userinfo endpoint is not asked.
package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/sync/singleflight"

	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/go-jose/go-jose/v4"
)

// Clock skew between us and the provider.
const (
	DefaultSkew = 30 * time.Second
	MaxSkew     = 5 * time.Minute
)

// What a failure is, for errors.Is. Each error is one of these, a *Denied, or the mistake of who called.
var (
	// ErrUnavailable says that the provider could not be asked, or did not answer what was asked: nothing is known.
	ErrUnavailable = errors.New("the provider could not be asked")
	// ErrEnded says that the provider does not take a code or a refresh token any more (invalid_grant).
	ErrEnded = errors.New("the provider says that it is over")
	// ErrInvalid says that what came must not be believed: a browser's answer, an ID token, a logout token.
	ErrInvalid = errors.New("what came is not to be believed")
)

// Keys finds the provider's keys with this id for this algorithm. An error that is ErrUnavailable says that they could not be
// had; every other, that there is no such key.
type Keys interface {
	Find(ctx context.Context, now time.Time, kid string, algorithm jose.SignatureAlgorithm) ([]jws.Key, error)
}

// Config says who the provider is, and who the client is there.
type Config struct {
	Issuer     string                    // as tokens name it, to the letter
	ClientID   string                    //
	Auth       Auth                      //
	Scopes     []string                  // to ask for; "openid" is always
	Redirect   string                    // where the provider sends the browser back to, as registered there
	ClockSkew  time.Duration             // 0: DefaultSkew
	Algorithms []jose.SignatureAlgorithm // of the provider's signatures; none: jws.Algorithms

	HTTP     func(u *url.URL) (*http.Client, error) // gives a client for the host of u that follows no redirects and reaches judged addresses only
	CheckURL func(text string) (*url.URL, error)    // judges the issuer, and each URL that the provider names
	Keys     Keys                                   // the provider's
	Now      func() time.Time                       //
	Rand     io.Reader                              // for the ids of assertions; nil: crypto/rand
}

// Provider speaks to one provider as one client. Many goroutines may use it.
type Provider struct {
	cfg    Config
	at     *url.URL // its description
	scopes []string

	known  atomic.Pointer[known]
	flight singleflight.Group
	mu     sync.Mutex // guards what follows
	failed time.Time  // when it last could not be described
	why    error
}

// New checks the Config, and asks nobody anything yet.
func New(cfg Config) (*Provider, error) {
	if cfg.HTTP == nil || cfg.CheckURL == nil || cfg.Keys == nil || cfg.Now == nil {
		return nil, mistake.List{{What: "no network, keys or clock are given"}}
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.ClockSkew == 0 {
		cfg.ClockSkew = DefaultSkew
	}
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = jws.Algorithms()
	}
	p := &Provider{cfg: cfg, scopes: []string{"openid"}}
	var wrong mistake.List
	at, err := cfg.CheckURL(strings.TrimSuffix(cfg.Issuer, "/") + "/.well-known/openid-configuration")
	if p.at = at; err != nil {
		wrong.Under("issuer", err)
	} else if strings.ContainsAny(cfg.Issuer, "?#") {
		wrong.Add("issuer", "", "the issuer has a query or fragment")
	}
	if !visible(cfg.ClientID, 1, maxText) {
		wrong.Add("client", "", "the client id is empty, longer than %d characters or not printable", maxText)
	}
	if cfg.Auth.Secret != nil && cfg.Auth.Key != nil {
		wrong.Add("auth", "", "the client has both a secret and a key; it shows one of them")
	}
	if u, err := url.Parse(cfg.Redirect); err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || strings.Contains(cfg.Redirect, "#") {
		wrong.Add("redirect", "", "the address to come back to is not a whole http or https URL without user and fragment")
	}
	if cfg.ClockSkew < 0 || cfg.ClockSkew > MaxSkew {
		wrong.Add("clock_skew", "", "%s is not between 0s and %s", cfg.ClockSkew, MaxSkew)
	}
	for _, a := range cfg.Algorithms {
		if !slices.Contains(jws.Algorithms(), a) {
			wrong.Add("algorithms", "", "%.20q is no algorithm of signatures with a public key", a)
		}
	}
	for _, scope := range cfg.Scopes {
		if !isScope(scope) {
			wrong.Add("scopes", "", "%.40q is not the name of a scope (RFC 6749 section 3.3)", scope)
		} else if !slices.Contains(p.scopes, scope) {
			p.scopes = append(p.scopes, scope)
		}
	}
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// failure is an error of one kind. It says only its own sentence.
type failure struct {
	kind error
	is   error
}

func (f *failure) Error() string   { return f.is.Error() }
func (f *failure) Unwrap() []error { return []error{f.kind, f.is} }

func unavailable(format string, args ...any) error {
	return &failure{ErrUnavailable, fmt.Errorf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &failure{ErrInvalid, fmt.Errorf(format, args...)}
}

// Longest texts of others that are taken, in bytes.
const (
	maxText   = 255  // names and ids
	maxCode   = 2048 // a code
	maxOpaque = 16 << 10
)

// visible tells that a text is of printable ASCII without spaces, and of a length.
func visible(s string, least, most int) bool {
	return len(s) >= least && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// name tells that a text may stand in a log and a header.
func name(s string) bool {
	return s != "" && len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func isScope(s string) bool { return visible(s, 1, maxText) && !strings.ContainsAny(s, `"\`) }

// cut shortens what others wrote before it enters a message.
func cut(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
