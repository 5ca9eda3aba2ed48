package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// stories are the files of all stories.
func stories(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"../../*/stories/*.txtar", "../../*/*/stories/*.txtar"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	if len(list) < 5 {
		t.Fatalf("only %d stories found", len(list))
	}
	return list
}

var (
	repeated  = regexp.MustCompile(`\{\{(\d+)\*(.*?)\}\}`)
	moment    = regexp.MustCompile(`NOW[+-]\d+`)
	sessionOf = regexp.MustCompile(`SESSION:[a-z]+`)
	keyOf     = regexp.MustCompile(`KEY:[a-z]+`)
	day       = regexp.MustCompile(`DAY\+\d+`)
)

// expand replaces what stands for something else in a story.
func (s *story) expand(text string) string {
	text = strings.ReplaceAll(text, "http://upstream", s.server.url())
	text = s.holders.words(s.t, strings.ReplaceAll(text, "$DIR", s.dir))
	text = repeated.ReplaceAllStringFunc(text, func(m string) string {
		part := repeated.FindStringSubmatch(m)
		n, err := strconv.Atoi(part[1])
		if err != nil {
			s.t.Fatal(err)
		}
		return strings.Repeat(part[2], n)
	})
	text = day.ReplaceAllStringFunc(text, func(m string) string {
		n, err := strconv.Atoi(m[len("DAY+"):])
		if err != nil {
			s.t.Fatal(err)
		}
		return time.Now().UTC().AddDate(0, 0, n).Format(time.DateOnly)
	})
	return moment.ReplaceAllStringFunc(text, func(m string) string {
		n, err := strconv.ParseInt(m[len("NOW"):], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		return strconv.FormatInt(time.Now().Unix()+n, 10)
	})
}

// answers reads what the server behind does at single paths.
func answers(t *testing.T, text string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, line := range lines(text) {
		path, what, _ := strings.Cut(line, " ")
		if strings.HasPrefix(what, `"`) {
			raw, err := strconv.Unquote(what)
			if err != nil {
				t.Fatalf("answers: %s: %v", line, err)
			}
			what = raw
		}
		list[path] = what
	}
	return list
}

// writeKeys makes a key and writes its public half into keys.json, as an issuer publishes it.
func writeKeys(t *testing.T, dir string) *ecdsa.PrivateKey {
	t.Helper()
	key := stranger(t)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "keys.json"), set, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a token of any header and claims, as no library would.
func sign(t *testing.T, key *ecdsa.PrivateKey, header, claims string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// stranger makes a key that nobody publishes.
func stranger(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
