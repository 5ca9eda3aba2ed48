package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Request is one login that begins. State, Nonce and Verifier are unguessable and made for this login; the caller keeps them
// with the browser that logs in.
type Request struct {
	State, Nonce string
	Verifier     string         // 43 to 128 characters (RFC 7636 section 4.1)
	ACR          []string       // how the user should be authenticated, the best first; demand it again in Want
	MaxAge       *time.Duration // since the user was last authenticated, in whole seconds; demand it again in Want
	Prompt       string         // "", or what the provider must ask: login, consent, select_account, none
	LoginHint    string         // who is probably logging in
}

// Format hides what nobody may guess.
func (Request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// Begin gives the URL to which the browser is sent. Where the provider takes pushed requests (RFC 9126) it was told of this one
// before, and the URL holds nothing of it.
func (p *Provider) Begin(ctx context.Context, r Request) (location string, err error) {
	if !visible(r.State, 1, maxCode) || !visible(r.Nonce, 1, maxCode) || !isVerifier(r.Verifier) {
		return "", fmt.Errorf("state, nonce or verifier is empty or of the wrong form")
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return "", err
	}
	challenge := sha256.Sum256([]byte(r.Verifier))
	parameters := url.Values{
		"response_type": {"code"}, "client_id": {p.cfg.ClientID}, "redirect_uri": {p.cfg.Redirect}, "scope": {strings.Join(p.scopes, " ")},
		"state": {r.State}, "nonce": {r.Nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	if r.MaxAge != nil {
		parameters.Set("max_age", strconv.FormatInt(int64(max(0, *r.MaxAge)/time.Second), 10))
	}
	for name, value := range map[string]string{"acr_values": strings.Join(r.ACR, " "), "prompt": r.Prompt, "login_hint": r.LoginHint} {
		if value != "" {
			parameters.Set(name, value)
		}
	}
	if m.pushed == nil {
		return at(m.authorize, parameters), nil
	}
	answer, err := p.post(ctx, m.pushed, parameters, "pushed request", http.StatusCreated, http.StatusOK)
	if err != nil {
		return "", err
	}
	reference, _ := answer["request_uri"].(string)
	if !visible(reference, 1, maxCode) {
		return "", unavailable("%s took the pushed request and named no request_uri", m.pushed.url.Host)
	}
	return at(m.authorize, url.Values{"client_id": {p.cfg.ClientID}, "request_uri": {reference}}), nil
}

// at adds parameters to a URL, whose own stay (RFC 6749 section 3.1), but never beside ours.
func at(u *url.URL, parameters url.Values) string {
	own := u.Query()
	for name, values := range parameters {
		own[name] = values
	}
	with := *u
	with.RawQuery = own.Encode()
	return with.String()
}

func isVerifier(s string) bool {
	return visible(s, 43, 128) && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~", r)
	})
}

// maxDescription is how much of a provider's reason is kept, in characters.
const maxDescription = 200

// Denied is a provider's answer that nobody was logged in.
type Denied struct {
	Code        string // such as access_denied or login_required (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6)
	Description string // for people, "": none; it came through the browser and is believed by nobody
}

// Error says the code only.
func (d *Denied) Error() string { return "the provider logged nobody in: " + d.Code }

// Answer judges what the browser brought back to the Redirect, and gives the code. The state is that of the login which this
// browser began. A *Denied is the provider's own answer.
func (p *Provider) Answer(ctx context.Context, query url.Values, state string) (code string, err error) {
	for _, values := range query {
		if len(values) != 1 {
			return "", invalid("the answer has a parameter %d times", len(values))
		}
	}
	if state == "" || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(state)) != 1 {
		return "", invalid("the answer's state is not that of the login which this browser began")
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return "", err
	}
	// RFC 9207 section 2.4: else an answer of another provider's could be given to this one.
	issuer, named := query["iss"]
	if !named && m.named {
		return "", invalid("the answer does not say that it is of %s, which says that its answers do", p.cfg.Issuer)
	}
	if named && issuer[0] != p.cfg.Issuer {
		return "", invalid("the answer says that it is of another issuer than %s", p.cfg.Issuer)
	}
	code = query.Get("code")
	if _, refused := query["error"]; refused {
		d := &Denied{query.Get("error"), tidy(query.Get("error_description"))}
		if !visible(d.Code, 1, 60) || code != "" {
			return "", invalid("the answer has an error that is none, or a code beside it")
		}
		return "", d
	}
	if !visible(code, 1, maxCode) {
		return "", invalid("the answer's code is missing, longer than %d characters or not printable", maxCode)
	}
	return code, nil
}

// tidy keeps what can be printed.
func tidy(s string) string {
	var b strings.Builder
	left := maxDescription
	for _, r := range s {
		if left == 0 {
			break
		}
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
			left--
		}
	}
	return b.String()
}

// EndSession gives the URL to which a browser is sent to log out at the provider too (OpenID Connect RP-Initiated Logout 1.0).
// It is not ok when the provider has none, or can't be asked. Each text may be empty.
func (p *Provider) EndSession(ctx context.Context, idTokenHint, postLogoutRedirect, state string) (location string, ok bool) {
	m, err := p.metadata(ctx)
	if err != nil || m.endSession == nil {
		return "", false
	}
	parameters := url.Values{"client_id": {p.cfg.ClientID}}
	for name, value := range map[string]string{"id_token_hint": idTokenHint, "post_logout_redirect_uri": postLogoutRedirect, "state": state} {
		if value != "" {
			parameters.Set(name, value)
		}
	}
	return at(m.endSession, parameters), true
}
