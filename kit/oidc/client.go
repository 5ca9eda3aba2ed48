package oidc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/go-jose/go-jose/v4"
)

// Bounds of one question.
const (
	askTime   = 10 * time.Second
	maxAnswer = 64 << 10 // bytes
	maxDepth  = 16

	assertionLife = 60 * time.Second
)

// Auth is how the client shows who it is: by a secret, or by a key, or not at all, as a public client that only names itself.
// What the functions give is as it is now; they do not wait.
type Auth struct {
	Secret func() ([]byte, error)     // client_secret_basic
	Key    func() (SigningKey, error) // private_key_jwt (RFC 7523)
}

// SigningKey signs assertions of who the client is.
type SigningKey struct {
	ID      string        // kid, "": none
	Private crypto.Signer // *ecdsa.PrivateKey on P-256 (ES256), *rsa.PrivateKey from 2048 bits (RS256) or ed25519.PrivateKey (EdDSA)
}

// Format hides the key.
func (SigningKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

const hidden = "[secret]"

// method is what discovery calls it.
func (a Auth) method() string {
	switch {
	case a.Secret != nil:
		return "client_secret_basic"
	case a.Key != nil:
		return "private_key_jwt"
	}
	return "none"
}

// shown names in messages what the provider may not take.
func (a Auth) shown() string {
	switch {
	case a.Secret != nil:
		return "our client id and secret"
	case a.Key != nil:
		return "our client id and the signature of its key"
	}
	return "our client id without a secret"
}

// algorithm is the one that fits a private key.
func (k SigningKey) algorithm() (jose.SignatureAlgorithm, error) {
	switch private := k.Private.(type) {
	case *ecdsa.PrivateKey:
		if private != nil && private.Curve == elliptic.P256() {
			return jose.ES256, nil
		}
	case *rsa.PrivateKey:
		if private != nil && private.N != nil && private.N.BitLen() >= 2048 {
			return jose.RS256, nil
		}
	case ed25519.PrivateKey:
		if len(private) == ed25519.PrivateKeySize {
			return jose.EdDSA, nil
		}
	}
	return "", fmt.Errorf("a %T can't be the client's key; it may be ECDSA on P-256, RSA from 2048 bits or Ed25519", k.Private)
}

// assertion says who the client is, to this provider, for a minute (RFC 7523 section 3). Its audience is the issuer alone: a
// token endpoint's URL could be that of somebody else's provider, who would show the assertion to ours.
func (p *Provider) assertion() (string, error) {
	key, err := p.cfg.Auth.Key()
	if err != nil {
		return "", err
	}
	algorithm, err := key.algorithm()
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if key.ID != "" {
		options.WithHeader("kid", key.ID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key.Private}, options)
	if err != nil {
		return "", err
	}
	var id [16]byte
	if _, err := io.ReadFull(p.cfg.Rand, id[:]); err != nil {
		return "", err
	}
	now := p.cfg.Now()
	claims, err := json.Marshal(map[string]any{"iss": p.cfg.ClientID, "sub": p.cfg.ClientID, "aud": p.cfg.Issuer,
		"jti": base64.RawURLEncoding.EncodeToString(id[:]), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix()})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// post sends a form as the client and gives the object that is the answer, which has one of the wanted states.
func (p *Provider) post(ctx context.Context, e *endpoint, form url.Values, what string, wanted ...int) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var secret []byte
	var err error
	switch auth := p.cfg.Auth; {
	case auth.Secret != nil:
		if secret, err = auth.Secret(); err == nil && len(secret) == 0 {
			err = errors.New("the client's secret is empty")
		}
	case auth.Key != nil:
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		var signed string
		signed, err = p.assertion()
		form.Set("client_assertion", signed)
	default:
		form.Set("client_id", p.cfg.ClientID)
	}
	if err != nil {
		return nil, unavailable("%s can't be asked: %w", e.url.Host, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, unavailable("%s can't be asked: its address is none", e.url.Host)
	}
	if secret != nil { // RFC 6749 section 2.3.1: both are form-encoded first
		request.SetBasicAuth(url.QueryEscape(p.cfg.ClientID), url.QueryEscape(string(secret)))
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := ask(e, request, maxAnswer)
	if err != nil {
		return nil, err
	}
	for _, status := range wanted {
		if a.status == status && a.object != nil {
			return a.object, nil
		}
	}
	return nil, p.refused(e, a, what)
}

// refused says what an answer other than the wanted one means, and what to do about it (RFC 6749 section 5.2). What the
// provider tells beside the code is left out: it may repeat what it was sent.
func (p *Provider) refused(e *endpoint, a answer, what string) error {
	code, _ := a.object["error"].(string)
	if !visible(code, 1, 60) || a.status < 400 || a.status > 499 {
		code = ""
	}
	said := strings.TrimSpace(fmt.Sprintf("(%d %s", a.status, code)) + ")"
	switch {
	case code == "invalid_grant":
		return &failure{ErrEnded, fmt.Errorf("%s does not take the %s %s: it is used up, over or revoked", e.url.Host, what, said)}
	case code == "invalid_client" || a.status == http.StatusUnauthorized:
		return unavailable("%s does not take %s %s; compare them with what is registered there for %.60q", e.url.Host, p.cfg.Auth.shown(), said, p.cfg.ClientID)
	case code == "unauthorized_client":
		return unavailable("%s does not let the client %.60q do this %s; allow it there", e.url.Host, p.cfg.ClientID, said)
	case code == "invalid_scope":
		return unavailable("%s does not give one of the scopes %s %s", e.url.Host, strings.Join(p.scopes, ", "), said)
	case code != "":
		return unavailable("%s refuses the %s %s", e.url.Host, what, said)
	}
	return unavailable("%s answered the %s with %d, %s", e.url.Host, what, a.status, a.form())
}

// answer is what a server said.
type answer struct {
	status int
	raw    []byte
	object map[string]any // nil when it is not one JSON object that can be understood in one way
	why    error          // it isn't
}

// form tells what kind of answer it is.
func (a answer) form() string {
	switch {
	case a.status >= 300 && a.status < 400:
		return "and redirects are not followed"
	case a.why != nil:
		return a.why.Error()
	}
	return "with an object"
}

// ask does one request. An error is that there was no answer, or one that is too long.
func ask(e *endpoint, request *http.Request, most int64) (answer, error) {
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "openid-client")
	response, err := e.client.Do(request)
	if err != nil {
		return answer{}, unavailable("%s: %w", e.url.Host, plain(err))
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return answer{}, unavailable("%s: %w", e.url.Host, plain(err))
	}
	if int64(len(raw)) > most {
		return answer{}, unavailable("%s answered with more than %d KiB", e.url.Host, most>>10)
	}
	a := answer{status: response.StatusCode, raw: raw}
	if media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || media != "application/json" {
		a.why = errors.New("with something else than application/json")
		return a, nil
	}
	a.object, a.why = readObject(raw, most)
	return a, nil
}

// readObject reads JSON that can be understood in one way only: one object, in UTF-8, no member twice, numbers as written.
func readObject(raw []byte, most int64) (map[string]any, error) {
	tree, refusal := body.Read(body.JSON, nil, "", bytes.NewReader(raw), body.Limits{Bytes: most, Depth: maxDepth, Declared: int64(len(raw))})
	if refusal != nil {
		return nil, errors.New("with JSON that is not read: " + refusal.Reason)
	}
	read, ok := tree.Value().(map[string]any)
	if !ok {
		return nil, errors.New("with JSON that is no object")
	}
	return read, nil
}

// plain takes the URL out of an error of net/http.
func plain(err error) error {
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	return err
}
