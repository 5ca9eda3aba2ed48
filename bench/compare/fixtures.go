package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// certificate writes a certificate for localhost and its key.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	for name, data := range map[string][]byte{"tls.crt": chain, "tls.key": secret, "tls.pem": append(chain, secret...)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// random gives n bytes for a key.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// issuer signs RS256 tokens; the gateways know its key.
type issuer struct{ key *rsa.PrivateKey }

// newIssuer makes one, and writes the key set that verifies its tokens.
func newIssuer(dir string) (issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return issuer{}, err
	}
	raw := base64.RawURLEncoding
	keys := map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "kid": "bench", "alg": "RS256", "use": "sig",
		"n": raw.EncodeToString(key.N.Bytes()), "e": raw.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}}
	set, err := json.Marshal(keys)
	if err != nil {
		return issuer{}, err
	}
	return issuer{key}, os.WriteFile(filepath.Join(dir, "keys.json"), set, 0o600)
}

// token is one for a caller who may read and write orders. Its identifier names it where tokens are called back.
func (i issuer) token(subject, id string) (string, error) {
	raw := base64.RawURLEncoding
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": issuerName, "aud": "bench", "sub": subject, "roles": []string{"customer"}, "scope": "orders:read orders:write",
		"iat": now, "exp": now + 6*3600, "jti": id,
	})
	if err != nil {
		return "", err
	}
	text := raw.EncodeToString([]byte(`{"alg":"RS256","kid":"bench","typ":"at+jwt"}`)) + "." + raw.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	return text + "." + raw.EncodeToString(signature), err
}

const issuerName = "https://id.example"

// order is a benign order of about the given number of bytes.
func order(size int) string {
	var items []string
	for n := 0; n < size-120; {
		item := fmt.Sprintf(`{"sku":"SKU-%05d","name":"Blue cotton shirt","quantity":%d,"price":%d.50}`, len(items), len(items)%7+1, 10+len(items))
		n += len(item) + 1
		items = append(items, item)
	}
	return `{"customer":"Ann Miller","note":"please ring twice","items":[` + strings.Join(items, ",") + `]}`
}

const contract = `openapi: 3.0.3
info: {title: bench, version: "1"}
components:
  securitySchemes: {token: {type: http, scheme: bearer}}
  schemas:
    Order:
      type: object
      required: [customer, items]
      properties:
        customer: {type: string, maxLength: 100}
        note: {type: string, maxLength: 500}
        items:
          type: array
          maxItems: 1000
          items:
            type: object
            required: [sku, quantity]
            properties:
              sku: {type: string, pattern: "^SKU-[0-9]{5}$"}
              name: {type: string, maxLength: 100}
              quantity: {type: integer, minimum: 1, maximum: 100}
              price: {type: number, minimum: 0}
paths:
  /plain/{id}:
    get:
      operationId: plain
      security: []
      parameters: [{name: id, in: path, required: true, schema: {type: integer, minimum: 1}}]
      responses: {"200": {description: ok}}
  /orders/{id}:
    get:
      operationId: getOrder
      security: [{token: [orders:read]}]
      x-gatehouse-roles: [customer]
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer, minimum: 1}}
        - {name: fields, in: query, schema: {type: string, maxLength: 50}}
      responses: {"200": {description: ok}}
  /orders:
    post:
      operationId: createOrder
      security: [{token: [orders:write]}]
      x-gatehouse-roles: [customer]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Order"}}}}
      responses: {"200": {description: ok}}
`

// document is the gateway's for one case. Only the WAF is ever off; limits, rate, identity, access and contract are on in
// every case, and so is the event file.
func document(listen, upstream, events string, waf bool) string {
	off := ""
	if !waf {
		off = "  waf: {off: {accept_risk: a benchmark without the WAF}}\n"
	}
	tls := ""
	if strings.HasPrefix(listen, "https") {
		tls = "  certificates: [{cert: tls.crt, key: \"file:tls.key\"}]\n"
	}
	return `listen:
  at: ["` + listen + `"]
  admin: http://127.0.0.1:0
` + tls + `audit: {directory: ` + events + `}
guards:
  rate: {per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000}
  identity:
    issuers: [{issuer: "` + issuerName + `", audience: bench, keys: keys.json}]
` + off + `apis:
  - name: bench
    contract: bench.yaml
    to: ["` + upstream + `"]
`
}
