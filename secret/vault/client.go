package vault

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
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/leak"
)

// maxAnswer bounds what the server answers, in bytes.
const maxAnswer = 2 << 20

// client speaks to one server. It takes nothing from the environment: no proxy, no VAULT_ variable.
type client struct {
	http      *http.Client
	base      *url.URL
	namespace string
}

// reply is what the server's JSON has for us.
type reply struct {
	LeaseID       string          `json:"lease_id"`
	LeaseDuration int64           `json:"lease_duration"` // seconds
	Renewable     bool            `json:"renewable"`
	Data          json.RawMessage `json:"data"`
	Auth          *login          `json:"auth"`
	Errors        []string        `json:"errors"`
}

// login is the part of an answer that brings a token.
type login struct {
	ClientToken   string `json:"client_token"`
	LeaseDuration int64  `json:"lease_duration"` // seconds; 0: no end
	Renewable     bool   `json:"renewable"`
}

// refused is an answer that is no success.
type refused struct {
	status int
	words  string
}

func (r refused) Error() string {
	text := map[int]string{
		http.StatusForbidden:          "the server denies it; let the policy of the gateway's role allow it",
		http.StatusNotFound:           "the server knows nothing at this path",
		http.StatusServiceUnavailable: "the server is sealed or in maintenance",
		http.StatusTooManyRequests:    "the server asks for fewer questions",
	}[r.status]
	if r.status >= 300 && r.status < 400 {
		text = "the server sends elsewhere; let the address name the active server, or one that forwards"
	}
	if text == "" {
		text = fmt.Sprintf("the server answered %d", r.status)
	}
	if r.words != "" {
		text += " (" + r.words + ")"
	}
	return text
}

func newClient(base *url.URL, namespace, caFile string, dial dialer) (*client, error) {
	roots, err := rootsOf(caFile)
	if err != nil {
		return nil, err
	}
	return &client{base: base, namespace: strings.Trim(namespace, "/"), http: &http.Client{
		// A redirect would carry the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}}, nil
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return roots, nil
}

// call asks once. Secrets are what the answer's error must not repeat.
func (c *client) call(ctx context.Context, method, path, token string, body any, secrets ...string) (reply, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		content = bytes.NewReader(text)
	}
	target := *c.base
	target.Path = "/v1/" + path
	req, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("X-Vault-Request", "true")
	req.Header.Set("User-Agent", "gatehouse")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	if c.namespace != "" {
		req.Header.Set("X-Vault-Namespace", c.namespace)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which stands in the reference already
		}
		return reply{}, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	defer res.Body.Close()
	return read(res, append(secrets, token))
}

func read(res *http.Response, secrets []string) (reply, error) {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return reply{}, fmt.Errorf("read the server's answer: %w", err)
	}
	if len(text) > maxAnswer {
		return reply{}, fmt.Errorf("the server's answer is longer than %d bytes", maxAnswer)
	}
	var r reply
	if res.StatusCode == http.StatusNoContent || len(bytes.TrimSpace(text)) == 0 && res.StatusCode < 300 {
		return r, nil
	}
	err = json.Unmarshal(text, &r)
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return r, refused{res.StatusCode, quotable(strings.Join(r.Errors, "; "), secrets)}
	}
	if err != nil {
		// The words of encoding/json may repeat a piece of the answer.
		return reply{}, errors.New("the server's answer is no JSON of the published form; does the address belong to OpenBao or Vault?")
	}
	return r, nil
}

// quotable gives a server's words without what was sent to it, anything that looks like a secret, and control characters.
func quotable(words string, secrets []string) string {
	for _, s := range secrets {
		if len(s) > 3 {
			words = strings.ReplaceAll(words, s, "[secret]")
		}
	}
	words = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(leak.Mask(words, "[secret]"), "?"))
	if all := []rune(words); len(all) > 200 {
		words = string(all[:200]) + "…"
	}
	return strings.Join(strings.Fields(words), " ")
}

func statusOf(err error) int {
	var r refused
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}
