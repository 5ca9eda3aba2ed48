// Package kubernetes reads Secrets from the API of a cluster: kubernetes:NAMESPACE/NAME#KEY. The service account needs the
// verb get on just the Secrets that are named; nothing is listed or watched. Its token is read for every question, since
// the cluster replaces it about every hour. What it stops: Secrets that are copied into documents or images, and restarts
// for each rotation.
package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the section secret.kubernetes. In a pod, {} is enough.
type Config struct {
	// Address of the API: https://host:port. Default https://kubernetes.default.svc, as pods see it.
	Address string `yaml:"address"`
	// CA is a file of certificates in PEM form that the API is verified against. Default: where pods find it.
	CA string `yaml:"ca,public"`
	// TokenFile holds the service account's token; it is read for every question. Default: where pods find it.
	TokenFile string `yaml:"token_file,public"`
}

const (
	inCluster = "/var/run/secrets/kubernetes.io/serviceaccount/"
	maxAnswer = 4 << 20 // bytes; a Secret holds 1 MiB at most, a third more in base64, and annotations
)

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value    *string
		standard string
	}{{&c.Address, "https://kubernetes.default.svc"}, {&c.CA, inCluster + "ca.crt"}, {&c.TokenFile, inCluster + "token"}} {
		if *d.value == "" {
			*d.value = d.standard
		}
	}
	return c
}

// Deps is what a Source needs from outside. The zero Deps are good for production.
type Deps struct {
	Dial func(ctx context.Context, network, address string) (net.Conn, error) // nil is net.Dialer
}

// Source is the API of one cluster.
type Source struct {
	base  *url.URL
	token string // the file
	http  *http.Client
}

// New makes the source of kubernetes: references. It asks nothing yet. The error is a mistake.List whose paths lie in the
// section.
func New(cfg Config, deps Deps) (*Source, error) {
	cfg = cfg.withDefaults()
	if deps.Dial == nil {
		deps.Dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	var wrong mistake.List
	base, err := url.Parse(cfg.Address)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "":
		wrong.Add("address", "https://kubernetes.default.svc", "is no address of a server; write scheme, host and port and nothing more")
	case base.Scheme == "http" && !isLoopback(base.Hostname()):
		wrong.Add("address", "https://"+base.Host, "secrets would cross the network in the clear")
	}
	roots, err := rootsOf(cfg.CA)
	if err != nil && (base == nil || base.Scheme != "http") {
		wrong.Add("ca", "", "%s", err)
	}
	if _, err := tokenOf(cfg.TokenFile); err != nil {
		wrong.Add("token_file", "", "%s", err)
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &Source{base: base, token: cfg.TokenFile, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: deps.Dial, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10},
	}}, nil
}

func rootsOf(file string) (*x509.CertPool, error) {
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

func tokenOf(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, "\r\n\x00 ") {
		return "", fmt.Errorf("%s holds no token", file)
	}
	return token, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Secret objects as the API answers them, as far as they matter here.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Reason     string `json:"reason"` // of a Status
	Metadata   struct {
		Name              string `json:"name"`
		Namespace         string `json:"namespace"`
		ResourceVersion   string `json:"resourceVersion"`
		DeletionTimestamp string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Data map[string]string `json:"data"` // base64
}

// Fetch reads the Secret NAMESPACE/NAME. Its version is the resourceVersion.
func (s *Source) Fetch(ctx context.Context, place, known string) (secret.Answer, error) {
	namespace, name, ok := strings.Cut(place, "/")
	if !ok {
		return secret.Answer{}, fmt.Errorf("%w: a Secret is named by namespace and name", secret.ErrGone)
	}
	token, err := tokenOf(s.token)
	if err != nil {
		return secret.Answer{}, err
	}
	target := *s.base
	target.Path = "/api/v1/namespaces/" + namespace + "/secrets/" + name
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return secret.Answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatehouse")
	res, err := s.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return secret.Answer{}, fmt.Errorf("ask %s: %w", s.base.Host, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return secret.Answer{}, fmt.Errorf("read the API's answer: %w", err)
	case len(text) > maxAnswer:
		return secret.Answer{}, fmt.Errorf("the API's answer is longer than %d bytes", maxAnswer)
	}
	var o object
	decoded := json.Unmarshal(text, &o)
	if res.StatusCode != http.StatusOK {
		return secret.Answer{}, refusal(res.StatusCode, o, namespace, name)
	}
	if decoded != nil || o.Kind != "Secret" || o.APIVersion != "v1" || o.Metadata.Name != name || o.Metadata.Namespace != namespace || o.Metadata.ResourceVersion == "" {
		return secret.Answer{}, errors.New("the API's answer is not the Secret that was asked for; does the address belong to a cluster?")
	}
	if known == o.Metadata.ResourceVersion {
		return secret.Answer{Version: known}, nil
	}
	return read(o)
}

func read(o object) (secret.Answer, error) {
	fields := map[string]secret.Value{}
	for key, text := range o.Data {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return secret.Answer{}, fmt.Errorf("the key %.100q is not in base64", key)
		}
		// As if it were mounted as a file: one line end at the end is not part of the secret.
		data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
		if v, err := secret.New(data, key); err == nil {
			fields[key] = v
		}
	}
	return secret.Answer{Fields: fields, Version: o.Metadata.ResourceVersion}, nil
}

// reason is how the API names why it refuses: one word in CamelCase.
var reason = regexp.MustCompile(`^[A-Z][A-Za-z]{2,40}$`)

func refusal(status int, o object, namespace, name string) error {
	why := ""
	if o.Kind == "Status" && reason.MatchString(o.Reason) {
		why = " (" + o.Reason + ")"
	}
	switch {
	case status == http.StatusNotFound && o.Kind == "Status":
		return fmt.Errorf("%w: no Secret %s in namespace %s", secret.ErrGone, name, namespace)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("the API doesn't take the service account's token%s", why)
	case status == http.StatusForbidden:
		return fmt.Errorf("the API denies it%s; bind the service account to a Role in %s with verbs [get], resources [secrets], resourceNames [%s]", why, namespace, name)
	}
	return fmt.Errorf("the API answered %d%s", status, why)
}
