package oidc

import (
	"context"
	"errors"
	"time"
)

// loggedOut is the event that makes a token a logout token.
const loggedOut = "http://schemas.openid.net/event/backchannel-logout"

// Logout is a provider's word that a user, or one of a user's sessions, is logged out.
type Logout struct {
	Subject   string    // whose sessions end: all of them when there is no SessionID
	SessionID string    // which of them; Subject may then be empty
	ID        string    // of the token, which counts once
	Issued    time.Time //
	Expires   time.Time // from here on the token is refused, so that its ID need not be remembered
}

// Logout verifies a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6). That it counts once is for the caller to
// see to. A token without exp, as drafts of the standard had it, is taken for two minutes, like every other: who refused it
// would leave open the session that it is to end.
func (p *Provider) Logout(ctx context.Context, token string) (Logout, error) {
	s, err := p.open(ctx, token, "", "jwt", "logout+jwt")
	var l Logout
	if err == nil {
		l, err = p.judgeLogout(s.claims)
	}
	if errors.Is(err, ErrInvalid) {
		return Logout{}, invalid("the logout token: %w", err)
	}
	return l, err
}

func (p *Provider) judgeLogout(claims map[string]any) (l Logout, err error) {
	if l.Issued, l.Expires, err = p.meant(claims, logoutAge, false); err != nil {
		return Logout{}, err
	}
	events, _ := claims["events"].(map[string]any)
	if _, is := events[loggedOut].(map[string]any); !is { // others may stand beside it: Keycloak says there that offline sessions end too
		return Logout{}, invalid("its events do not have the one of a logout")
	}
	if _, has := claims["nonce"]; has {
		return Logout{}, invalid("it has a nonce: it could be an ID token")
	}
	var ok bool
	if l.ID, ok = claims["jti"].(string); !ok || !name(l.ID) {
		return Logout{}, invalid("jti is missing, empty, longer than %d bytes or not printable", maxText)
	}
	for member, to := range map[string]*string{"sub": &l.Subject, "sid": &l.SessionID} {
		value, has := claims[member]
		if *to, ok = value.(string); has && (!ok || !name(*to)) {
			return Logout{}, invalid("%s is empty, longer than %d bytes or not printable", member, maxText)
		}
	}
	if l.Subject == "" && l.SessionID == "" {
		return Logout{}, invalid("it names neither a user (sub) nor a session (sid)")
	}
	return l, nil
}
