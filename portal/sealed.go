package portal

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/oidc"
)

// What browsers carry is sealed: nobody reads or changes it, and one kind is never taken for another.
const (
	asNote  = "note"  // of where a browser wants back to
	asState = "state" // of a login at a provider
	asCode  = "code"  // that carries a session to a host

	loginTime = time.Hour // for a login, however slow
	codeTime  = time.Minute
)

// note says where a browser wants back to.
type note struct {
	Origin  string    `json:"o"`           // scheme, host and port at which it was
	Host    string    `json:"h"`           // the host alone, canonical
	To      string    `json:"t"`           // path and query there
	Browser string    `json:"b"`           // digest of the cookie that the host gave the browser
	Factor  bool      `json:"f,omitempty"` // a second factor is demanded there
	MaxAge  int       `json:"a,omitempty"` // so many seconds ago at most it must have been shown, or else the user signed in; 0: at any time
	Until   time.Time `json:"u"`
}

// state is a login at a provider that is under way.
type state struct {
	ID       string    `json:"i"`
	Provider string    `json:"p"`
	Browser  string    `json:"b"` // digest of the cookie that this origin gave the browser
	Note     note      `json:"n"`
	Until    time.Time `json:"u"`
}

// code carries a session to a host.
type code struct {
	ID      string    `json:"i"`
	Session string    `json:"s"`
	Host    string    `json:"h"`
	To      string    `json:"t"`
	Browser string    `json:"b"`
	Until   time.Time `json:"u"`
}

var (
	errForeign = errors.New("this was not made here, or is for something else")
	errOver    = errors.New("this is over")
)

func (n note) until() time.Time  { return n.Until }
func (s state) until() time.Time { return s.Until }
func (c code) until() time.Time  { return c.Until }

// sealed writes a value as something to carry.
func (p *Portal) sealed(kind string, v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(p.seal.Seal(nil, nil, data, []byte(kind))), nil //nolint:gosec // it makes its nonce itself
}

// unsealed reads what was carried. When it is over, its value is given as well, for leading back to where it began.
func unsealed[T interface{ until() time.Time }](p *Portal, kind, text string) (v T, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) != base64.RawURLEncoding.EncodedLen(len(raw)) { // the decoder passes over line ends
		return v, errForeign
	}
	data, err := p.seal.Open(nil, nil, raw, []byte(kind))
	if err != nil {
		return v, errForeign
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, errForeign
	}
	if !p.tools.Now().Before(v.until()) {
		return v, errOver
	}
	return v, nil
}

// signingKey reads a private key in PEM.
func signingKey(data []byte) (k oidc.SigningKey, err error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return k, errors.New("no private key in PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return k, errors.New("no private key in PKCS #8; openssl pkcs8 -topk8 -nocrypt makes one of others")
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return k, errors.New("a private key of a kind that doesn't sign")
	}
	k.Private = signer
	return k, nil
}
