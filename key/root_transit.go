package key

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/gatehouse-sec/gatehouse/secret"
)

const kindTransit = "transit"

// transitRoot asks an OpenBao or Vault server's Transit engine to encrypt and decrypt; its key never leaves the server. What
// is bound to the envelope goes along as associated data.
type transitRoot struct {
	cfg     Transit
	resolve func(secret.Ref) (secret.Value, error)
	client  *http.Client
}

// maxAnswer bounds what a server may answer (row H14).
const maxAnswer = 64 << 10

func newTransit(cfg Transit, resolve func(secret.Ref) (secret.Value, error), dial func(context.Context, string, string) (net.Conn, error)) (*transitRoot, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("read the roots for %s: %w", cfg.Address, err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", cfg.CA)
		}
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	client := &http.Client{
		Timeout:   cfg.Timeout,
		Transport: &http.Transport{TLSClientConfig: trust, DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer},
		// a token goes to the server that was named, and to no other
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &transitRoot{cfg, resolve, client}, nil
}

// Describe says what it is.
func (t *transitRoot) Describe() Description {
	return Description{Kind: kindTransit, Where: fmt.Sprintf("the key %s of %s (mount %s)", t.cfg.Key, t.cfg.Address, t.cfg.Mount)}
}

// transitRequest and transitAnswer are the bodies of both operations; bytes travel as base64.
type transitRequest struct {
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext string `json:"ciphertext,omitempty"`
	Associated []byte `json:"associated_data"`
}

type transitAnswer struct {
	Data struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
	} `json:"data"`
}

// Wrap lets the server encrypt.
func (t *transitRoot) Wrap(ctx context.Context, plain, aad []byte) (Envelope, error) {
	e := Envelope{Kind: kindTransit, Parameters: map[string]string{"mount": t.cfg.Mount, "key": t.cfg.Key}}
	answer, err := t.ask(ctx, "encrypt", transitRequest{Plaintext: plain, Associated: e.aad(aad)})
	if err != nil {
		return Envelope{}, err
	}
	if e.Data = []byte(answer.Data.Ciphertext); len(e.Data) == 0 {
		return Envelope{}, fmt.Errorf("%w: %s answers without a ciphertext", ErrUnavailable, t.cfg.Address)
	}
	return e, nil
}

// Unwrap lets the server decrypt. Names in the envelope are those of the day when it was made; where the key lies today the
// document says.
func (t *transitRoot) Unwrap(ctx context.Context, e Envelope, aad []byte) ([]byte, error) {
	if err := expect(e, kindTransit); err != nil {
		return nil, err
	}
	answer, err := t.ask(ctx, "decrypt", transitRequest{Ciphertext: string(e.Data), Associated: e.aad(aad)})
	if err != nil {
		return nil, err
	}
	return answer.Data.Plaintext, nil
}

// ask sends one operation. What the server says in words is not repeated: nobody knows what stands in it.
func (t *transitRoot) ask(ctx context.Context, operation string, body transitRequest) (transitAnswer, error) {
	token, err := t.resolve(t.cfg.Token)
	if err != nil {
		return transitAnswer{}, fmt.Errorf("%w: the token for %s is not to be had: %w", ErrUnavailable, t.cfg.Address, err)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return transitAnswer{}, err
	}
	defer clear(data)
	address := fmt.Sprintf("%s/v1/%s/%s/%s", t.cfg.Address, t.cfg.Mount, operation, t.cfg.Key)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(data))
	if err != nil {
		return transitAnswer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Vault-Request", "true") // proof against request forgery that agents may ask for
	request.Header.Set("X-Vault-Token", string(token.Reveal()))
	if t.cfg.Namespace != "" {
		request.Header.Set("X-Vault-Namespace", t.cfg.Namespace)
	}
	response, err := t.client.Do(request)
	if err != nil {
		return transitAnswer{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := t.verdict(operation, response.StatusCode); err != nil {
		return transitAnswer{}, err
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	defer clear(content)
	var answer transitAnswer
	if err == nil && len(content) > maxAnswer {
		err = errors.New("it is too long")
	}
	if err == nil {
		if err = json.Unmarshal(content, &answer); err != nil {
			err = errors.New("it is not the JSON of the Transit API")
		}
	}
	if err != nil {
		return transitAnswer{}, fmt.Errorf("%w: read the answer of %s: %w", ErrUnavailable, t.cfg.Address, err)
	}
	return answer, nil
}

// verdict says what a status means.
func (t *transitRoot) verdict(operation string, status int) error {
	at := fmt.Sprintf("%s, key %s", t.cfg.Address, t.cfg.Key)
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusBadRequest && operation == "decrypt":
		return fmt.Errorf("%w: the server does not decrypt it (%s): it was encrypted by another key, by a version that may no longer decrypt, or was changed", ErrWrong, at)
	case status == http.StatusBadRequest:
		return fmt.Errorf("%w: the server refuses to encrypt (%s): make the key of type aes256-gcm96 or chacha20-poly1305, not derived", ErrWrong, at)
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("%w: the token may not %s (%s); its policy needs update on %s/%s/%s", ErrUnavailable, operation, at, t.cfg.Mount, operation, t.cfg.Key)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: the server has no such mount or key (%s)", ErrLost, at)
	}
	return fmt.Errorf("%w: the server answers %d (%s); is it sealed?", ErrUnavailable, status, at)
}
