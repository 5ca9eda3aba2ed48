package bearer

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

func exchangeOf(fields http.Header) *gate.Exchange {
	return &gate.Exchange{Request: &canon.Request{Fields: fields}}
}

// extract is a small set of forms in the manner of RFC 7520 and of published flaws, always tried. None is a token for us.
func extract() []string {
	const part = "eyJhbGciOiJFUzI1NiJ9"
	return []string{
		"", ".", "..", "...", "....", ".....", part, part + ".", part + "..", part + "...", part + "....",
		b64(`{"alg":"dir","enc":"A128GCM"}`) + "..AAAA.AAAA.AAAA",
		b64(`{"alg":"RSA1_5","enc":"A128CBC-HS256"}`) + ".AAAA.AAAA.AAAA.AAAA",
		b64(`{"alg":"A128KW","enc":"A128GCM"}`) + "..AAAA.AAAA.AAAA", // an empty wrapped key: CVE-2026-34986
		b64(`{"alg":"ECDH-ES","enc":"A128GCM","epk":null}`) + "..AAAA.AAAA.AAAA",
		b64(`{"alg":"PBES2-HS512+A256KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA"}`) + ".AAAA.AAAA.AAAA.AAAA",
		b64(`{"alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"","y":""}}`) + "." + b64(`{"iss":"`+shopIssuer+`"}`) + ".AAAA",
		b64(`{"alg":"ES256","kid":"ec","jwk":null,"x5c":[]}`) + "." + b64(`{"iss":"`+shopIssuer+`"}`) + ".AAAA",
		b64(`{"alg":"ES256","kid":"ec","x5c":["AAAA"]}`) + "." + b64(`{"iss":"`+shopIssuer+`"}`) + ".AAAA",
		b64(`{"alg":"ES256","kid":"ec","jwk":{"kty":"oct","k":"AAAA"}}`) + "." + b64(`{"iss":"`+shopIssuer+`"}`) + ".AAAA",
		b64(`{"alg":"EdDSA","kid":"ed"}`) + "." + b64(`{"iss":"`+shopIssuer+`"}`) + ".AA",
		b64(`{"alg":"RS256","kid":"rsa"}`) + "." + b64(`{"iss":"`+shopIssuer+`"}`) + ".AA",
		b64(`{"alg":"PS512","kid":"rsa"}`) + "." + b64(`{"iss":"`+shopIssuer+`"}`) + "." + strings.Repeat("_", 342),
	}
}

// E31: no malformed message makes the reader panic, and none is believed. GATEHOUSE_CORPORA names a folder with the
// examples of RFC 7515, 7520 and 7797; without it, only our own extract is tried, and the test says so.
func TestCorpus(t *testing.T) {
	s := newSmith(t)
	r := s.reader(t, Issuer{}, NewCache(0))
	try := func(text string) {
		for _, token := range []string{text, text + ".", "." + text, strings.ReplaceAll(text, ".", "..")} {
			if p, _, v := read(r, token); p != nil || v.Allowed() || v.Code != gate.NoIdentity {
				t.Errorf("%.60q: %+v", token, v)
			}
		}
	}
	for _, token := range extract() {
		try(token)
	}
	folder := os.Getenv("GATEHOUSE_CORPORA")
	if folder == "" {
		fmt.Println("bearer: GATEHOUSE_CORPORA is not set; the examples of the JOSE RFCs were not tried, our own extract was")
		return
	}
	words, tried := regexp.MustCompile(`[A-Za-z0-9_.{}\[\]:",-]{8,}`), 0
	err := filepath.WalkDir(filepath.Join(folder, "jose-cookbook"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".json" {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var any map[string]any
		if err := json.Unmarshal(data, &any); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, word := range words.FindAllString(string(data), -1) {
			try(word)
			tried++
		}
		return nil
	})
	if err != nil || tried < 100 {
		t.Errorf("%d words tried: %v", tried, err)
	}
}

// FuzzBearer feeds whole Authorization values. Nothing that the fuzzer writes is signed with our keys, so nothing but the
// two seeds that are may be believed.
func FuzzBearer(f *testing.F) {
	s := newSmith(f)
	good := forge(f, s.ec, ecHeader, claims(nil))
	r := s.reader(f, Issuer{}, NewCache(0))
	f.Add("Bearer " + good)
	f.Add("Bearer " + forge(f, s.rsa, `{"alg":"RS256","kid":"rsa"}`, `{}`))
	f.Add("Basic YTpi")
	f.Add("DPoP " + good)
	f.Add("DPoP")
	for _, token := range extract() {
		f.Add("bearer " + token)
	}
	f.Fuzz(func(t *testing.T, value string) {
		p, found, v := readFields(r, http.Header{"Authorization": {value}})
		if (p != nil) != (found && v.Allowed()) {
			t.Fatal("a caller without a verdict, or a verdict without a caller")
		}
		if p == nil {
			return
		}
		if scheme, token, _ := strings.Cut(value, " "); !strings.EqualFold(scheme, "bearer") || token != good {
			t.Fatalf("believed %q", value)
		}
	})
}

// FuzzClaims feeds payloads that are signed with the right key: whatever is believed names a caller and an end.
func FuzzClaims(f *testing.F) {
	s := newSmith(f)
	r := s.reader(f, Issuer{}, nil)
	for _, payload := range []string{claims(nil), `{}`, `{"iss":"` + shopIssuer + `","aud":[]}`, claims(map[string]any{"roles": nil, "scope": []string{"a"}})} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		if payload == "" || len(payload) > 4096 {
			return
		}
		p, found, v := read(r, forge(t, s.ec, ecHeader, payload))
		if !found || (p != nil) != v.Allowed() {
			t.Fatal("a caller without a verdict, or a verdict without a caller")
		}
		if p == nil {
			return
		}
		if p.Issuer != shopIssuer || p.Subject == "" || !p.Expires.After(noon().Add(-DefaultSkew)) || !json.Valid([]byte(payload)) {
			t.Fatalf("believed %q as %+v", payload, p)
		}
	})
}
