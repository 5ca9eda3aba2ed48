package identity

import (
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/binding"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// APIKeys says how callers of an API show a key. The zero APIKeys takes none.
type APIKeys struct {
	// Name of the header in which callers send their API key, such as X-API-Key. Default none: no key is taken. A key in path
	// or query is always refused, since addresses are written down everywhere.
	Header string `yaml:"header"`
}

// check finds what is wrong with taking keys at this API.
func (k APIKeys) check(c Config, api *gate.API, wrong *mistake.List) {
	if k.Header == "" {
		return
	}
	const path, write = "api_keys.header", "header: X-API-Key"
	declared := keyFields(api.Contract)
	switch {
	case !plainName(k.Header):
		wrong.Add(path, write, "%q is not a header name of letters, digits and hyphens", k.Header)
	case reserved(k.Header):
		wrong.Add(path, write, "%s means something else to a server", k.Header)
	case slices.Contains(c.Headers.All(), k.Header):
		wrong.Add(path, write, "%s is a header in which the server behind learns who is calling", k.Header)
	case len(declared) > 0 && !slices.Contains(declared, k.Header):
		wrong.Add(path, "header: "+declared[0], "the contract says that API keys come in %s", strings.Join(declared, ", "))
	}
	if c.Bound == binding.Required {
		wrong.Add("bound", "", "an API key works for whoever holds it, so it can't be taken where credentials must be bound to their client: remove bound or api_keys")
	}
	if c.SingleUse {
		wrong.Add("single_use", "", "an API key is shown again and again, so it can't be taken where each credential counts once: remove single_use or api_keys")
	}
}

// keyFields are the headers in which a contract says that API keys come.
func keyFields(c *openapi.Contract) (list []string) {
	if c == nil {
		return nil
	}
	for _, s := range c.Schemes {
		if s.Type == "apiKey" && s.In == "header" {
			list = append(list, textproto.CanonicalMIMEHeaderKey(s.Key))
		}
	}
	return list
}

// Credentials are the fields in which callers prove who they are.
func (g *Guard) Credentials() []string {
	list := []string{"Authorization", "Dpop"}
	if g.keyField != "" {
		list = append(list, g.keyField)
	}
	return list
}

// Findings names what a contract has callers do with API keys that is not done here. That a key can be stolen is told in the
// protection table, as of every token that isn't bound.
func (g *Guard) Findings(time.Time) (open, risk []gate.Finding) {
	if c := g.api.Contract; c != nil && g.keyField != "" {
		for _, s := range c.Schemes {
			if s.Type == "apiKey" && s.In != "header" {
				open = append(open, gate.Finding{
					ID: "identity.key_elsewhere", Fix: "in: header, name: " + g.keyField + "  # components.securitySchemes." + s.Name,
					What: "the contract says that API keys come in a " + s.In + " parameter, and they are taken in the header " + g.keyField + " only",
				})
			}
		}
	}
	return open, nil
}
