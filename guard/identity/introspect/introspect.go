// Package introspect asks an issuer's server what an opaque token says (RFC 7662). It promises that only the configured
// server is shown a token, over a connection whose address was judged; that an answer counts only when it is one that can be
// understood in one way and says, literally, that the token is active; and that a server which is slow, broken or gone
// holds up no more than a bounded number of requests, opens nothing, and is told apart from a token that isn't good. Who is
// asked about one token by several requests at once is asked once.
package introspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Bounds of asking.
const (
	askTime   = 2 * time.Second // for one answer, the wait for a turn included
	atOnce    = 32              // questions to one server under way at once
	maxAnswer = 64 << 10        // bytes
	maxDepth  = 16

	DefaultCache = 10 * time.Second // how long an answer counts where the document says nothing
	MaxCache     = time.Minute
)

// Config says how an issuer is asked about tokens that are no JWT.
type Config struct {
	// Where to ask: the issuer's introspection endpoint, an https URL; http for a loopback host only.
	URL string `yaml:"url,required,public"`
	// The client as which the gateway asks (client_secret_basic).
	Client string `yaml:"client,required,public"`
	// That client's secret.
	Secret secret.Ref `yaml:"secret,required"`
	// How long an answer counts before the issuer is asked again, so for how long a token that the issuer has ended may still be
	// good here; what "gatehouse token revoke" calls back is refused at once. Default 10s, at most 60s.
	Cache time.Duration `yaml:"cache"`
}

// Check finds what is wrong with the section but the URL, which is its caller's to judge.
func (c Config) Check() error {
	var wrong mistake.List
	if c.Cache < 0 || c.Cache > MaxCache {
		wrong.Add("cache", "cache: 10s", "%s is not between 0s and %s", c.Cache, MaxCache)
	}
	return wrong.Err()
}

// ErrInactive says that the server does not know the token, or not as one that is good.
var ErrInactive = errors.New("the issuer says that the token is not active")

// Asker asks one server.
type Asker struct {
	cfg    Config
	http   *http.Client
	secret func() (secret.Value, error)
	limit  time.Duration // of one answer, the wait for a turn included
	turns  chan struct{}
	flight singleflight.Group
}

// New makes an asker. The client must neither follow redirects nor reach addresses that nobody has judged; secret gives the
// client's secret as it is now, and does not wait.
func New(cfg Config, client *http.Client, secret func() (secret.Value, error)) *Asker {
	if cfg.Cache == 0 {
		cfg.Cache = DefaultCache
	}
	return &Asker{cfg: cfg, http: client, secret: secret, limit: askTime, turns: make(chan struct{}, atOnce)}
}

// Cache is how long an answer counts.
func (a *Asker) Cache() time.Duration { return a.cfg.Cache }

// Ask gives what the server says of an active token: the members of its answer, numbers as they were written. It is
// ErrInactive when the token is not; every other error says that it is not known.
func (a *Asker) Ask(ctx context.Context, token string) (map[string]any, error) {
	key := sha256.Sum256([]byte(token))
	answer := a.flight.DoChan(string(key[:]), func() (claims any, err error) {
		defer func() { // in a goroutine of its own, where nobody else catches it
			if p := recover(); p != nil {
				claims, err = nil, fmt.Errorf("asking %s failed by a fault of the gateway's own", a.host())
			}
		}()
		// Not under the context of whoever asked first: others wait for the same answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.limit)
		defer cancel()
		return a.ask(ctx, token)
	})
	select {
	case r := <-answer:
		claims, _ := r.Val.(map[string]any)
		return claims, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *Asker) ask(ctx context.Context, token string) (map[string]any, error) {
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%d questions are under way to %s", atOnce, a.host())
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.URL, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	password, err := a.secret()
	if err != nil {
		return nil, err
	}
	// RFC 6749 section 2.3.1: both are form-encoded first.
	request.SetBasicAuth(url.QueryEscape(a.cfg.Client), url.QueryEscape(string(password.Reveal())))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "token-introspection")
	answer, err := a.http.Do(request)
	if err != nil {
		return nil, plain(err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusUnauthorized:
		return nil, fmt.Errorf("%s does not take our client id and secret (401)", a.host())
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %d; redirects are not followed", a.host(), answer.StatusCode)
	}
	return a.read(answer)
}

// read understands an answer in one way or not at all: JSON in UTF-8, one object, no member twice, active a boolean.
func (a *Asker) read(answer *http.Response) (map[string]any, error) {
	if media, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, fmt.Errorf("%s answered with something else than application/json", a.host())
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.host(), plain(err))
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("%s answered with more than %d KiB", a.host(), maxAnswer>>10)
	}
	claims, err := Read(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.host(), err)
	}
	active, ok := claims["active"].(bool)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: the answer does not say whether the token is active", a.host())
	case !active:
		return nil, ErrInactive
	}
	return claims, nil
}

// Read reads the object of an answer.
func Read(data []byte) (map[string]any, error) {
	tree, refusal := body.Read(body.JSON, nil, "", bytes.NewReader(data), body.Limits{Bytes: maxAnswer, Depth: maxDepth, Declared: int64(len(data))})
	if refusal != nil {
		return nil, fmt.Errorf("the answer: %s", refusal.Reason)
	}
	object, ok := tree.Value().(map[string]any)
	if !ok {
		return nil, errors.New("the answer is not an object")
	}
	return object, nil
}

// host names the server in messages.
func (a *Asker) host() string {
	if u, err := url.Parse(a.cfg.URL); err == nil && u.Host != "" {
		return u.Host
	}
	return "the issuer's server"
}

// plain takes the URL out of an error of net/http: its query may hold what should not be logged.
func plain(err error) error {
	var with *url.Error
	if errors.As(err, &with) {
		return with.Err
	}
	return err
}
