package identity_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The section as an operator writes it. An audience that looks random is a name, not a secret.
func TestSectionAsWritten(t *testing.T) {
	d, err := config.Parse("gatehouse.yaml", []byte(`
guards:
  identity:
    issuers:
      - issuer: https://dev-83.okta.example/oauth2/aus1x9f8k2Lq0ZbT5d7
        audience: kX93jfLw0aQz81LmPq7RtYbN2vC4
      - issuer: https://idp.example.com
        audience: [orders, stock]
        roles: https://shop.example.com/roles
        typ: [JWT, absent]
        algorithms: [RS256]
        clock_skew: 10s
        allow_private: {accept_risk: it runs beside us, until: 2027-01-31}
    pass_credential: true
    headers: {subject: X-User}
    development: {accept_risk: only here}
`))
	if err != nil {
		t.Fatal(err)
	}
	got, there, err := config.Section[identity.Config](d, "guards.identity")
	if err != nil || !there {
		t.Fatal(there, err)
	}
	want := identity.Config{PassCredential: true, Headers: identity.HeaderNames{Subject: "X-User"}, Issuers: []bearer.Issuer{
		{Issuer: "https://dev-83.okta.example/oauth2/aus1x9f8k2Lq0ZbT5d7", Audience: bearer.Names{"kX93jfLw0aQz81LmPq7RtYbN2vC4"}},
		{Issuer: "https://idp.example.com", Audience: bearer.Names{"orders", "stock"}, Roles: "https://shop.example.com/roles",
			Kinds: []string{"JWT", "absent"}, Algorithms: []string{"RS256"}, ClockSkew: 10 * time.Second},
	}}
	want.Issuers[1].AllowPrivate.AcceptRisk = "it runs beside us"
	want.Issuers[1].AllowPrivate.Until = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	want.Development.AcceptRisk = "only here"
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(bearer.Issuer{})); diff != "" {
		t.Error(diff)
	}
}

// What the README shows can be pasted.
func TestReadmeExample(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("there is no example")
	}
	d, err := config.Parse("README.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	got, there, err := config.Section[identity.Config](d, "guards.identity")
	if err != nil || !there || len(got.Issuers) != 1 {
		t.Fatal(there, err)
	}
	source := keys.NewSource(noon, keys.Offline(), nil)
	defer source.Close()
	if _, err := identity.New(got, shop(), identity.Tools{Now: noon, Keys: source}); err != nil {
		t.Error(err)
	}
	for _, r := range identity.Reasons() {
		if name := strings.TrimPrefix(string(r), "identity."); !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), "`"+string(r)+"`") {
			t.Errorf("README does not name %s", r)
		}
	}
}
