package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Tokens are what a login or its renewal gave. They print as [secret], whatever prints them.
type Tokens struct {
	Access, Refresh, ID string         // as they came; Refresh and, of a renewal, ID may be empty
	Scopes              []string       // given; of a renewal nil when they stay what they were
	Expires             time.Time      // of Access; zero when the provider doesn't say
	Claims              map[string]any // of the ID token, verified, numbers as json.Number; nil without one
	Subject             string         //
	SessionID           string         // sid, "": none
	ACR                 string         // how the user was authenticated
	AMR                 []string       //
	AuthTime            time.Time      // when; zero when the provider doesn't say
}

// Format, MarshalJSON and LogValue all say [secret].
func (Tokens) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, hidden) }
func (Tokens) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (Tokens) LogValue() slog.Value         { return slog.StringValue(hidden) }

// Want is what was asked for at Begin, and is demanded of the ID token. The zero Want demands nothing more than every token must hold.
type Want struct {
	MaxAge *time.Duration
	ACR    []string // one of these
}

// Exchange trades the code for tokens and verifies the ID token (OpenID Connect Core 1.0 section 3.1.3). Verifier and nonce are
// those of the login. A code that the provider doesn't take is ErrEnded.
func (p *Provider) Exchange(ctx context.Context, code, verifier, nonce string, want Want) (Tokens, error) {
	if code == "" || nonce == "" || !isVerifier(verifier) {
		return Tokens{}, errors.New("code, nonce or verifier is empty or of the wrong form")
	}
	t, err := p.grant(ctx, "code", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.cfg.Redirect}, "code_verifier": {verifier}})
	switch {
	case err != nil:
		return Tokens{}, err
	case t.ID == "":
		return Tokens{}, invalid("%s gave no ID token; is the client %.60q registered there for OpenID Connect?", p.at.Host, p.cfg.ClientID)
	case t.Scopes == nil:
		t.Scopes = append([]string(nil), p.scopes...)
	}
	if err := p.identify(ctx, &t, demand{Want: want, nonce: nonce}); err != nil {
		return Tokens{}, err
	}
	return t, nil
}

// Refresh renews tokens (OpenID Connect Core 1.0 section 12). Subject is whose they are: an ID token of anybody else is
// ErrInvalid. ErrEnded says that the provider ended the grant; ErrUnavailable that nothing is known, and the Tokens beside it
// hold nothing but the Refresh to use from now on.
//
// The question is not given up when ctx is: a refresh token that was traded for another while nobody listened is lost. A
// provider may repeat the first nonce (section 12.2): whoever still has it compares it with Claims["nonce"].
func (p *Provider) Refresh(ctx context.Context, refresh, subject string) (Tokens, error) {
	if refresh == "" || subject == "" {
		return Tokens{}, errors.New("refresh token or subject is empty")
	}
	ctx = context.WithoutCancel(ctx)
	t, err := p.grant(ctx, "refresh token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	if errors.Is(err, ErrUnavailable) {
		return Tokens{Refresh: refresh}, err
	}
	if err != nil {
		return Tokens{}, err
	}
	if t.Refresh == "" {
		t.Refresh = refresh
	}
	if t.ID == "" {
		t.Subject = subject
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	switch err := p.identify(ctx, &t, demand{subject: subject}); {
	case errors.Is(err, ErrUnavailable):
		return Tokens{Refresh: t.Refresh}, err
	case err != nil:
		return Tokens{}, err
	}
	return t, nil
}

// grant asks the token endpoint and reads its answer (RFC 6749 section 5.1).
func (p *Provider) grant(ctx context.Context, what string, form url.Values) (Tokens, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return Tokens{}, err
	}
	asked := p.cfg.Now()
	answer, err := p.post(ctx, m.token, form, what, http.StatusOK)
	if err != nil {
		return Tokens{}, err
	}
	t, err := readTokens(answer, asked)
	if err != nil {
		return Tokens{}, invalid("%s gave tokens that can't be read: %w", m.token.url.Host, err)
	}
	return t, nil
}

// readTokens reads the members of an answer. A member that is null is one that isn't there.
func readTokens(answer map[string]any, asked time.Time) (t Tokens, err error) {
	for _, member := range []struct {
		name string
		to   *string
	}{{"access_token", &t.Access}, {"refresh_token", &t.Refresh}, {"id_token", &t.ID}} {
		value := answer[member.name]
		text, ok := value.(string)
		if value != nil && (!ok || !visible(text, 1, maxOpaque)) {
			return t, fmt.Errorf("%s is empty, longer than %d bytes or not printable", member.name, maxOpaque)
		}
		*member.to = text
	}
	kind, _ := answer["token_type"].(string)
	switch {
	case t.Access == "":
		return t, errors.New("there is no access_token")
	case !strings.EqualFold(kind, "Bearer") && !strings.EqualFold(kind, "DPoP"):
		return t, fmt.Errorf("token_type is %.20q, not Bearer", kind)
	}
	if value := answer["expires_in"]; value != nil {
		number, _ := value.(json.Number)
		seconds, err := strconv.ParseUint(string(number), 10, 31)
		if err != nil {
			return t, errors.New("expires_in is not a whole number of seconds")
		}
		t.Expires = asked.Add(time.Duration(seconds) * time.Second)
	}
	if value := answer["scope"]; value != nil {
		text, ok := value.(string)
		t.Scopes = strings.Fields(text)
		for _, scope := range t.Scopes {
			ok = ok && isScope(scope)
		}
		if !ok {
			return t, errors.New("scope is not a list of scope names (RFC 6749 section 3.3)")
		}
	}
	return t, nil
}
