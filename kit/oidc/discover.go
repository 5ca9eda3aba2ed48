package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// How a provider's description is kept.
const (
	fresh       = time.Hour       // not read again
	stale       = 24 * time.Hour  // older, it is none: the provider was away for too long
	retry       = 5 * time.Second // between tries after a failure
	describe    = 5 * time.Second // for one reading
	maxDescribe = 256 << 10       // bytes
)

// endpoint is an address of the provider's that we speak to.
type endpoint struct {
	url    *url.URL
	client *http.Client
}

// metadata is what a provider says of itself, as far as it matters here.
type metadata struct {
	sum        [sha256.Size]byte // of its text
	authorize  *url.URL          // browsers are sent there
	token      *endpoint         //
	pushed     *endpoint         // for authorization requests; nil: it takes none
	endSession *url.URL          // browsers are sent there; nil: there is none
	named      bool              // its answers through the browser say whose they are (RFC 9207)
}

// known is a description, and when it was read.
type known struct {
	*metadata
	at time.Time
}

// metadata gives the provider's description. One that is older than an hour is read again while it goes on to serve, up to a
// day; after a failure nobody tries for five seconds.
func (p *Provider) metadata(ctx context.Context) (*metadata, error) {
	now, k := p.cfg.Now(), p.known.Load()
	if k != nil && now.Sub(k.at).Abs() < fresh {
		return k.metadata, nil
	}
	usable := k != nil && now.Sub(k.at) < stale
	p.mu.Lock()
	why := p.why
	if now.Sub(p.failed).Abs() >= retry {
		why = nil
	}
	p.mu.Unlock()
	switch {
	case why != nil && usable:
		return k.metadata, nil
	case why != nil:
		return nil, why
	}
	// Not under the context of whoever asked first: others wait for the same answer.
	answer := p.flight.DoChan("", func() (any, error) { return p.discover(context.WithoutCancel(ctx)) })
	if usable {
		return k.metadata, nil
	}
	select {
	case r := <-answer:
		m, _ := r.Val.(*metadata)
		return m, r.Err
	case <-ctx.Done():
		return nil, unavailable("%s has not described itself yet: %w", p.at.Host, ctx.Err())
	}
}

// discover reads the description and remembers it, or that it could not.
func (p *Provider) discover(ctx context.Context) (m *metadata, err error) {
	old := p.known.Load()
	if old != nil && p.cfg.Now().Sub(old.at).Abs() < fresh {
		return old.metadata, nil // read since this was asked for
	}
	defer func() {
		if recover() != nil { // in a goroutine of its own, where nobody else catches it
			m, err = nil, unavailable("reading %s failed by a fault of the gateway's own", p.at.Host)
		}
		now := p.cfg.Now()
		if err == nil {
			p.known.Store(&known{m, now})
		}
		p.mu.Lock()
		p.failed, p.why = now, err
		p.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, describe)
	defer cancel()
	client, err := p.cfg.HTTP(p.at)
	if err != nil {
		return nil, unavailable("%s: %w", p.at.Host, err)
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.at.String(), nil)
	if err != nil {
		return nil, unavailable("%s: %w", p.at.Host, err)
	}
	answer, err := ask(&endpoint{p.at, client}, request, maxDescribe)
	if err != nil {
		return nil, err
	}
	if answer.status != http.StatusOK || answer.object == nil {
		return nil, unavailable("%s does not describe the provider at %s: it answered %d, %s", p.at.Host, p.at.Path, answer.status, answer.form())
	}
	sum := sha256.Sum256(answer.raw)
	if old != nil && old.sum == sum {
		return old.metadata, nil // with its connections
	}
	if m, err = p.read(answer.object); err != nil {
		return nil, unavailable("%s describes a provider that can't be used: %w", p.at.Host, err)
	}
	m.sum = sum
	return m, nil
}

// read understands a description (OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC 9126, RFC 9207).
func (p *Provider) read(d map[string]any) (*metadata, error) {
	if issuer, _ := d["issuer"].(string); issuer != p.cfg.Issuer {
		return nil, fmt.Errorf("it is the issuer %q, not %q; the two must be the same to the letter", cut(issuer), p.cfg.Issuer)
	}
	m := &metadata{}
	var err error
	var wrong []error
	for _, member := range []struct {
		name    string
		needed  bool
		browser **url.URL  // goes there
		speak   **endpoint // we do
	}{
		{"authorization_endpoint", true, &m.authorize, nil},
		{"token_endpoint", true, nil, &m.token},
		{"pushed_authorization_request_endpoint", false, nil, &m.pushed},
		{"end_session_endpoint", false, &m.endSession, nil},
	} {
		value, has := d[member.name]
		if !has && !member.needed {
			continue
		}
		u, err := p.address(value)
		if err == nil && member.browser != nil {
			*member.browser = u
		} else if err == nil {
			*member.speak = &endpoint{url: u}
			(*member.speak).client, err = p.cfg.HTTP(u)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", member.name, err))
		}
	}
	if m.named, err = flag(d, "authorization_response_iss_parameter_supported"); err != nil {
		wrong = append(wrong, err)
	}
	if must, err := flag(d, "require_pushed_authorization_requests"); err != nil || must && d["pushed_authorization_request_endpoint"] == nil {
		wrong = append(wrong, errors.Join(err, errors.New("it demands pushed authorization requests, and names no place for them")))
	}
	return m, errors.Join(append(wrong, p.offered(d, "code_challenge_methods_supported", "S256"), p.offered(d, "token_endpoint_auth_methods_supported", p.cfg.Auth.method()))...)
}

// address judges a URL that the description names.
func (p *Provider) address(value any) (*url.URL, error) {
	text, ok := value.(string)
	if !ok || len(text) > maxCode {
		return nil, fmt.Errorf("it is missing, no string or longer than %d bytes", maxCode)
	}
	u, err := p.cfg.CheckURL(text)
	if err == nil {
		_, err = url.ParseQuery(u.RawQuery)
	}
	return u, err
}

// offered demands that a list of what the provider can do, when there is one, has what we need.
func (p *Provider) offered(d map[string]any, member, need string) error {
	value, has := d[member]
	if !has {
		return nil
	}
	list, ok := words(value)
	switch {
	case !ok:
		return fmt.Errorf("%s is not a list of names", member)
	case !slices.Contains(list, need):
		return fmt.Errorf("%s does not have %s, which the client %.60q uses", member, need, p.cfg.ClientID)
	}
	return nil
}

// flag reads a member that is true, false or not there.
func flag(d map[string]any, member string) (bool, error) {
	value, has := d[member]
	yes, ok := value.(bool)
	if has && !ok {
		return false, fmt.Errorf("%s is neither true nor false", member)
	}
	return yes, nil
}
