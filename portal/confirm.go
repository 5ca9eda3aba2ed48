package portal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/oidc"
)

const (
	busyTime  = 30 * time.Second // for which one node has the word to ask a provider about a session: longer than that may take
	againTime = 5 * time.Second  // after which a provider that did not answer is asked again
)

var errAsked = errors.New("the provider is being asked, or did not answer a moment ago")

// Confirm asks the provider of a session whether its user may still come in, and ends it when not (row E22). One node asks at a
// time: a refresh token that two show is a stolen one to the provider.
func (p *Portal) Confirm(ctx context.Context, e *session.Entry) error {
	c := p.providers[e.Provider]
	if c == nil || c.Issuer != e.Issuer {
		return p.end(ctx, e.ID, "gatehouse", "the document has no provider "+e.Provider+" any more")
	}
	g, version, err := p.tools.Sessions.GrantOf(ctx, e.ID)
	if errors.Is(err, kept.ErrGone) { // with the session, or else nobody could ever ask again
		return p.end(ctx, e.ID, "gatehouse", "there is nothing any more to ask "+c.Name+" again with")
	}
	if err != nil {
		return err
	}
	now := p.tools.Now()
	switch {
	case now.Sub(g.Confirmed) < p.cfg.Sessions.Confirm:
		e.Confirm(g.Confirmed) // another node has asked
		return nil
	case now.Before(g.Busy):
		return errAsked
	}
	g.Busy = now.Add(busyTime)
	if err := p.tools.Sessions.SetGrant(ctx, e.Session, g, version); err != nil {
		return err
	}
	tokens, err := c.oidc.Refresh(ctx, g.Refresh, e.Subject)
	switch {
	case errors.Is(err, oidc.ErrEnded):
		// The user may have signed in anew meanwhile, and the provider ended what it gave before for that.
		if _, now, failed := p.tools.Sessions.GrantOf(ctx, e.ID); failed == nil && now != version+1 {
			return kept.ErrTaken
		}
		return p.end(ctx, e.ID, c.Name, "asked again, it doesn't let the user in: "+err.Error())
	case tokens.Refresh != "":
		g.Refresh = tokens.Refresh
	}
	g.Busy = p.tools.Now().Add(againTime)
	if err == nil {
		g.Confirmed, g.Busy = now, time.Time{}
	}
	if failed := p.tools.Sessions.SetGrant(context.WithoutCancel(ctx), e.Session, g, version+1); failed != nil {
		return errors.Join(err, fmt.Errorf("what %s gave in place of the refresh token can't be kept: %w", c.Name, failed))
	}
	if err != nil {
		return err
	}
	e.Confirm(now)
	return p.remap(ctx, c, e, tokens)
}

// remap gives a session what its provider says of the user now.
func (p *Portal) remap(ctx context.Context, c *provider, e *session.Entry, t oidc.Tokens) error {
	most := c.voucher()
	roles, scopes := session.Among(e.Roles, most.Roles), e.Scopes
	if t.Scopes != nil {
		scopes = t.Scopes
	}
	scopes = session.Among(scopes, most.Scopes)
	if t.Claims != nil {
		var err error
		if roles, err = c.granted(t.Claims); err != nil {
			return p.end(ctx, e.ID, "gatehouse", err.Error())
		}
	}
	if slices.Equal(roles, e.Roles) && slices.Equal(scopes, e.Scopes) {
		return nil
	}
	err := p.tools.Sessions.Mapped(ctx, e.ID, roles, scopes)
	if errors.Is(err, kept.ErrGone) {
		return nil
	}
	return err
}
