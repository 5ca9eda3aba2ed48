package config_test

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func secretMistake(t *testing.T, value string) (mistake.List, bool) {
	t.Helper()
	d, err := config.Parse("f.yaml", []byte("text: \""+value+"\"\n"))
	if d == nil {
		t.Fatal(err)
	}
	_, _, more := config.Section[struct {
		Text string `yaml:"text"`
	}](d, "")
	if config.Merge(err, more) == nil {
		return nil, false
	}
	return one(t, config.Merge(err, more)), true
}

// TestSecretsRefused: rows K1 and K2 at their source. What a key generator writes is refused and never repeated.
func TestSecretsRefused(t *testing.T) {
	missed := 0
	for i := range 500 {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw)
		for _, value := range []string{
			base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw), hex.EncodeToString(raw[:16]),
			base32.StdEncoding.EncodeToString(raw), "https://u:" + hex.EncodeToString(raw[:6]) + "@db.example.com/x", fmt.Sprintf("Bearer %x", raw),
		} {
			list, refused := secretMistake(t, value)
			if !refused {
				missed++
				continue
			}
			if i > 20 {
				continue
			}
			text, _ := config.JSON(list)
			var shown strings.Builder
			_ = config.Print(&shown, list, false)
			inner := strings.TrimPrefix(strings.TrimPrefix(value, "Bearer "), "https://u:")
			for _, out := range []string{string(text), shown.String(), list.Error()} {
				if strings.Contains(out, inner[:min(len(inner), 12)]) {
					t.Fatalf("%s is repeated:\n%s", value, out)
				}
			}
		}
	}
	t.Logf("missed %d of 3500", missed)
	if missed > 35 {
		t.Errorf("missed %d of 3500 generated secrets", missed)
	}
}

func TestPublicTextAccepted(t *testing.T) {
	for _, value := range []string{
		"https://idp.example.com/realms/shop/protocol/openid-connect", "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
		"123456789012-abcdefghijklmnop0123456789abcdef.apps.googleusercontent.com", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"GetOrdersByCustomerIdentifierAndDate", "/var/lib/gatehouse/events/current.ndjson", "shop.v1.OrderService/GetOrdersByCustomer",
		"kubernetes-v1-28-prod-eu-west-1-cluster", "a_rather_long_name_with_many_words_in_it", "the team of payments measured this in June 2026",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "/api/v1/orders/{orderId}/items/{itemId}/refunds",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "00000000000000000000000000000000", "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
		"arn:aws:iam::123456789012:role/service-role/gatehouse-production", "urn:ietf:params:oauth:grant-type:token-exchange",
	} {
		if list, refused := secretMistake(t, value); refused {
			t.Errorf("%s: %v", value, list)
		}
	}
}

// TestExcerptsAreMasked: a mistake of any kind shows its line, but no secret in it.
func TestExcerptsAreMasked(t *testing.T) {
	const canary = "q7Zk3vX9bT2mN8cR4wL6yH1sD5fG0jPaUeIoQz"
	for _, doc := range []string{
		"listen: {hed: " + canary + "}", "listen: {url: " + canary + "}", "pasword: hunter2-canary", "listen:\n\tkey: " + canary, "api_key: 'hunter2-canary",
		"listen: {tls: {key: hunter2-canary}}", "a: &" + canary + " 1", "a: [" + canary, canary + ": 1", "listen: {tls: {certificate: x, key: " + canary + "}}",
		"profile: " + canary, "listen: {head: " + canary + ", handshake: " + canary + ", fields: " + canary + ", trusted_proxies: [" + canary + "]}",
		"apis:\n  - name: a\n    hosts: [b]\n    to: https://u:hunter2-canary@host/\n", "a: *" + canary, "a: @" + canary, "a: !" + canary + " b",
		"guards: {rate: {" + canary + ": 1}}", "x: {password: hunter2-canary, y: 1}", "a: 1\na: 2 # token: hunter2-canary",
	} {
		err := checkSample("f.yaml", []byte(doc))
		if err == nil {
			t.Errorf("accepted %s", doc)
			continue
		}
		text, _ := config.JSON(one(t, err))
		if strings.Contains(string(text), canary[:16]) || strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: repeated in\n%s", doc, text)
		}
	}
}

// References say where a secret lies and are shown; what merely begins like one is not.
func TestReferencesInExcerpts(t *testing.T) {
	for value, shown := range map[string]bool{
		"file:/run/secrets/a": true, "env:SHOP_KEY": true, "credential:tls.key": true, "store:shop/password": true, "store:shop/password@3": true,
		"vault:secret/shop#password": true, "kubernetes:shop/database#password": true, "hunter2": false, "vault:hunter2": false, "store:Hunter2!": false,
		"env:hunter-2": false, "kubernetes:hunter2": false,
	} {
		for _, line := range []string{"password: " + value, "a: {password: " + value + "}", "password: '" + value + "'"} {
			_, err := config.Parse("f.yaml", []byte(line+"\n"+line+"\n")) // a key that stands twice
			list := one(t, err)
			if got := strings.Contains(list[0].Excerpt, value); got != shown {
				t.Errorf("%s: shown: %t in %q", line, got, list[0].Excerpt)
			}
		}
	}
	for _, value := range []string{"env:SHOP_KEY", "credential:tls.key", "store:shop/password@3", "vault:secret/shop#password", "kubernetes:shop/database#password"} {
		list, refused := secretMistake(t, value)
		if !refused || !strings.Contains(list[0].What, "nothing is expanded") {
			t.Errorf("%s is taken for text: %v", value, list)
		}
	}
}
