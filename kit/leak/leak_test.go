package leak_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/leak"
)

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	all    = lower + upper + digits
)

// text is n letters by chance. No token stands in this file: each is made when the test runs.
func text(n int, letters string) string {
	out := make([]byte, n)
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	for i := range out {
		out[i] = letters[int(raw[i])%len(letters)]
	}
	return string(out)
}

func jwt() string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"ES256","typ":"JWT"}`) + "." + part(`{"sub":"`+text(8, all)+`","aud":"x"}`) + "." + text(86, all)
}

// secrets makes one line of each kind.
func secrets() map[string]struct{ line, secret, kind string } {
	type c = struct{ line, secret, kind string }
	cases := map[string]c{}
	add := func(name, before, secret, after, kind string) { cases[name] = c{before + secret + after, secret, kind} }
	add("private key", "  ", "-----BEGIN "+"RSA PRIVATE KEY-----", "", "private key")
	add("our own", "x-api-key: ", "gh"+"k_"+text(8, lower+"234567")+"_"+text(48, all+"-_"), "", "gatehouse api key")
	add("age", "x ", "AGE-SECRET-"+"KEY-1"+text(58, upper+digits), "", "age key")
	add("aws", "aws_access_key_id = ", "AK"+"IA"+text(16, upper+"234567"), "", "aws access key")
	add("aws secret", "aws_secret_access_key: ", text(40, all), "", "")
	add("github", "token: ", "gh"+"p_"+text(36, all), " # ci", "github token")
	add("github fine", "token: ", "github"+"_pat_"+text(40, all), "", "github token")
	add("gitlab", "", "glp"+"at-"+text(20, all), "", "gitlab token")
	add("slack", "curl -d token=", "xox"+"b-"+text(12, digits)+"-"+text(24, all), "", "slack token")
	add("slack webhook", "https://", "hooks."+"slack.com/services/T"+text(8, upper)+"/B"+text(8, upper)+"/"+text(24, all), "", "slack webhook")
	add("stripe", `stripe("`, "sk_"+"live_"+text(24, all), `")`, "stripe key")
	add("google", "key=", "AI"+"za"+text(35, all), "", "google key")
	add("vault", "VAULT_TOKEN=", "hv"+"s."+text(24, all), "", "vault token")
	add("npm", "//registry/:_authToken=", "np"+"m_"+text(36, all), "", "npm token")
	add("pypi", "password = ", "py"+"pi-"+text(60, all), "", "pypi token")
	add("sendgrid", "k: ", "SG"+"."+text(22, all)+"."+text(43, all), "", "sendgrid key")
	add("shopify", "", "shp"+"at_"+text(32, "abcdef"+digits), "", "shopify token")
	add("api", "OPENAI=", "sk"+"-proj-"+text(20, all)+"9"+text(30, all), "", "api key")
	add("telegram", "bot ", text(9, "123456789")+":AA"+text(33, all), "", "telegram token")
	add("jwt", "Authorization: Bearer ", jwt(), "", "json web token")
	add("url", "url: postgres://shop:", text(14, all), "@db.internal/shop", "password in a URL")
	add("url with words", "redis://:", "correct"+"horse", "@cache:6379", "password in a URL")
	add("named yaml", "password: ", "hunter"+"2hunter", "", "literal under a secret's name")
	add("named json", `{"dbPassword": "`, "S3cr"+"et!", `"}`, "literal under a secret's name")
	add("named go", `	password := "`, "winter"+"2026", `"`, "literal under a secret's name")
	add("named env", "DB_PASSWORD=", "summer"+"time9", "", "literal under a secret's name")
	add("client secret", "client_secret: ", text(6, lower)+text(4, digits)+text(6, upper), "", "literal under a secret's name")
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	add("base64", "k: ", base64.StdEncoding.EncodeToString(raw), "", "random text")
	add("hex", "k: ", hex.EncodeToString(raw), "", "random text")
	return cases
}

// What has a known form is found always; what only chance tells, nearly always.
func TestEveryKindIsFound(t *testing.T) {
	const rounds = 100
	missed := map[string]int{}
	for range rounds {
		for name, c := range secrets() {
			hit := false
			for _, f := range leak.Find(c.line, true) {
				at := strings.Index(c.line, c.secret)
				hit = hit || f.Begin <= at && at+len(c.secret) <= f.End && (c.kind == "" || string(f.Kind) == c.kind) ||
					f.Begin < at+len(c.secret) && at < f.End && string(f.Kind) == c.kind
			}
			byChance := c.kind == "" || c.kind == string(leak.Random) || name == "client secret"
			if !hit && !byChance {
				t.Errorf("%s: not found in %q", name, c.line)
			}
			if masked := leak.Mask(c.line, "*"); strings.Contains(masked, c.secret) && hit {
				t.Errorf("%s: not masked: %s", name, masked)
			}
			if !hit {
				missed[name]++
			}
		}
	}
	for name, n := range missed {
		if t.Logf("%s: missed %d of %d", name, n, rounds); n > rounds/20 {
			t.Errorf("%s: missed %d of %d", name, n, rounds)
		}
	}
}

// Lines as they stand in documents and programs, and hold nothing.
func TestPlainLinesHoldNothing(t *testing.T) {
	for _, line := range []string{
		"password: file:/run/secrets/db", "password: store:shop/db", "password: vault:secret/shop#password", "  token: ${TOKEN}", `password: "{{ .Values.password }}"`,
		"password: <your password>", "password: changeme", "password: ********", "token: string", "secret: true", `"token": "refresh_token"`, "client_secret: $CLIENT_SECRET",
		"password := cfg.Password", `token := r.Header.Get("Authorization")`, `if password == "" {`, `form.Get("new_password")`, "password: my-password-here", "secretName: shop-database-tls",
		"https://user:${PASSWORD}@host/", "postgres://user@host/db", "https://user:<password>@host", "integrity: sha512-" + strings.Repeat("aB3", 29), "id: 72f988bf-86f1-41af-91ab-2d7cd011db47",
		"tokenEndpoint: https://idp.example.com/oauth2/token", "token_endpoint_auth_methods_supported: [private_key_jwt]", "AKIAIOSFODNN7EXAMPLE", "password: string", "tokens: 3", "max_token_age: 3600s",
	} {
		for _, f := range leak.Find(line, true) {
			t.Errorf("%q: %s in %q", line[f.Begin:f.End], f.Kind, line)
		}
	}
}

// FuzzFind: findings lie within the line, in order and apart; masking hides each of them.
func FuzzFind(f *testing.F) {
	for _, c := range secrets() {
		f.Add(c.line, true)
	}
	f.Add("postgres://u:p@h ghp_"+"x", false)
	f.Fuzz(func(t *testing.T, line string, data bool) {
		end := 0
		for _, f := range leak.Find(line, data) {
			if f.Begin < end || f.End <= f.Begin || f.End > len(line) || f.Kind == "" {
				t.Errorf("%+v after %d in %q", f, end, line)
			}
			end = f.End
		}
		end = 0
		for _, r := range leak.Runs(line) {
			if r[0] < end || r[1] < r[0] || r[1] > len(line) {
				t.Errorf("run %v after %d in %q", r, end, line)
			}
			end = r[1]
		}
		leak.Mask(line, "*")
	})
}
