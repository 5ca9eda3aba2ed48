package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// session is a token of the gateway's.
type session struct {
	token      string
	generation int       // counts logins; a lease ends with the token that it was taken with
	began      time.Time // of the token's present life
	ends       time.Time // zero: never
	renewable  bool
	own        bool // made by our login, so that it is ours to revoke
}

// errNoLogin stands before every failure of a login.
var errNoLogin = errors.New("log in")

// session gives a token that can be used now: the present one, prolonged when two thirds of its life are over, or a new one.
func (s *Source) session(ctx context.Context) (session, error) {
	if err := s.turn.take(ctx); err != nil {
		return session{}, err
	}
	defer s.turn.give()
	now := s.now()
	have := s.current
	if have.token != "" && (have.ends.IsZero() || now.Before(have.ends)) {
		if have.ends.IsZero() || !have.renewable || now.Before(have.began.Add(have.ends.Sub(have.began)*2/3)) {
			return have, nil
		}
		renewed, err := s.prolong(ctx, have)
		if err == nil && renewed.ends.Sub(now) >= have.ends.Sub(have.began)/2 {
			s.current = renewed
			return renewed, nil
		}
		if err == nil {
			// It nears its greatest age: what is taken from now on belongs to a new login, if there is one to be had.
			have, s.current = renewed, renewed
		}
		if fresh, err := s.logIn(ctx); err == nil {
			s.current = fresh
			return fresh, nil
		}
		return have, nil
	}
	fresh, err := s.logIn(ctx)
	if err != nil {
		return session{}, err
	}
	s.current = fresh
	return fresh, nil
}

// forget drops a token that the server no longer takes.
func (s *Source) forget(ctx context.Context, dead session) {
	if s.turn.take(ctx) != nil {
		return
	}
	defer s.turn.give()
	if s.current.generation == dead.generation {
		s.current = session{generation: dead.generation}
	}
}

func (s *Source) prolong(ctx context.Context, have session) (session, error) {
	asked := s.now()
	r, err := s.client.call(ctx, http.MethodPost, "auth/token/renew-self", have.token, map[string]any{})
	if err != nil {
		return session{}, err
	}
	if r.Auth == nil || r.Auth.LeaseDuration <= 0 {
		return session{}, errors.New("the server prolonged the token by nothing")
	}
	have.began, have.ends, have.renewable = asked, asked.Add(seconds(r.Auth.LeaseDuration)), r.Auth.Renewable
	return have, nil
}

// logIn gets a token in the configured way.
func (s *Source) logIn(ctx context.Context) (session, error) {
	asked := s.now()
	next := session{generation: s.current.generation + 1, began: asked}
	var l login
	var err error
	switch a := s.cfg.Auth; {
	case a.AppRole != nil:
		l, err = s.appRole(ctx)
		next.own = true
	case a.Kubernetes != nil:
		l, err = s.kubernetes(ctx)
		next.own = true
	default:
		l, err = s.given(ctx)
	}
	if err != nil {
		return session{}, fmt.Errorf("%w: %w", errNoLogin, err)
	}
	if l.ClientToken == "" || strings.ContainsAny(l.ClientToken, "\r\n\x00") {
		return session{}, fmt.Errorf("%w: the server's answer brings no token", errNoLogin)
	}
	if l.ClientToken == s.current.token {
		next.generation = s.current.generation // the same token again: what hangs on it goes on
	}
	if next.token, next.renewable = l.ClientToken, l.Renewable; l.LeaseDuration > 0 {
		next.ends = asked.Add(seconds(l.LeaseDuration))
	}
	return next, nil
}

func (s *Source) appRole(ctx context.Context) (login, error) {
	a := s.cfg.Auth.AppRole
	id, err := a.SecretID.Resolve()
	if err != nil {
		return login{}, err
	}
	return s.post(ctx, a.Mount, map[string]any{"role_id": a.RoleID, "secret_id": string(id.Reveal())}, string(id.Reveal()))
}

func (s *Source) kubernetes(ctx context.Context) (login, error) {
	k := s.cfg.Auth.Kubernetes
	text, err := os.ReadFile(k.TokenFile)
	if err != nil {
		return login{}, fmt.Errorf("read the service account's token: %w", err)
	}
	jwt := strings.TrimSpace(string(text))
	if jwt == "" {
		return login{}, fmt.Errorf("%s is empty", k.TokenFile)
	}
	return s.post(ctx, k.Mount, map[string]any{"role": k.Role, "jwt": jwt}, jwt)
}

func (s *Source) post(ctx context.Context, mount string, body map[string]any, secrets ...string) (login, error) {
	r, err := s.client.call(ctx, http.MethodPost, "auth/"+mount+"/login", "", body, secrets...)
	if err != nil {
		return login{}, err
	}
	if r.Auth == nil {
		return login{}, errors.New("the server's answer brings no token")
	}
	return *r.Auth, nil
}

// given takes a token that somebody else made, and asks what is left of it.
func (s *Source) given(ctx context.Context) (login, error) {
	value, err := s.cfg.Auth.Token.Resolve()
	if err != nil {
		return login{}, err
	}
	token := strings.TrimSpace(string(value.Reveal()))
	r, err := s.client.call(ctx, http.MethodGet, "auth/token/lookup-self", token, nil)
	if err != nil {
		return login{}, err
	}
	var about struct {
		TTL       int64 `json:"ttl"` // seconds; 0: no end
		Renewable bool  `json:"renewable"`
	}
	if err := json.Unmarshal(r.Data, &about); err != nil {
		return login{}, errors.New("the server says nothing of the token's life")
	}
	return login{ClientToken: token, LeaseDuration: about.TTL, Renewable: about.Renewable}, nil
}

func seconds(n int64) time.Duration {
	const most = int64(10 * 365 * 24 * 3600)
	return time.Duration(min(n, most)) * time.Second
}

// turnstile is a lock that doesn't outwait a context.
type turnstile chan struct{}

func (t turnstile) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turnstile) give() { <-t }
