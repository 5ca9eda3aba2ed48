package pipeline

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

const ownContract = `openapi: 3.1.0
info: {title: own, version: "1"}
security: []
paths: {/return: {get: {operationId: back, security: [], responses: {"200": {description: ok}}}}}
`

// No API of the document is at, or below, what the gateway serves itself: it could take what is meant for the gateway.
func TestOwnAlone(t *testing.T) {
	now := func() time.Time { return today }
	for base, good := range map[string]bool{"": true, "/shop": true, "/.gatehouse": false, "/.gatehouse/return": false, "/.gatehouses": true} {
		d, err := config.Parse("gatehouse.yaml", []byte(`apis:
  - {name: shop, hosts: [app.test], base: /a, contract: shop.yaml, to: ["http://server"], guards: {identity: {sessions: {providers: [corp]}}}}
  - {name: more, hosts: [app.test], base: "`+base+`", contract: shop.yaml, to: ["http://server"], guards: {identity: {sessions: {providers: [corp]}}}}
`))
		if err != nil {
			t.Fatal(err)
		}
		source := keys.NewSource(now, keys.Offline(), nil)
		t.Cleanup(source.Close)
		r := &rig{}
		_, err = Build(d, Tools{
			Now: now, NewID: func(time.Time) string { return "01ID" }, Counters: memory.NewCounters(100, now), Rules: rules(), Recorder: r,
			ReadFile: func(string, string) ([]byte, error) {
				return []byte(strings.Replace(ownContract, "security: []\npaths", "components: {securitySchemes: {login: {type: openIdConnect, openIdConnectUrl: \"https://id.test\"}}}\nsecurity: [{login: []}]\npaths", 1)), nil
			},
			Senders:  func(string, upstream.Config, []string) (Sender, error) { return r, nil },
			Identity: identity.Tools{Now: now, Keys: source, Verified: bearer.NewCache(0), Providers: map[string]session.Voucher{"corp": {Issuer: "https://id.test"}}},
			Own:      []Own{{Name: "own", Contract: []byte(ownContract), Base: "/.gatehouse", Handler: http.NotFoundHandler()}},
		})
		if refused := err != nil && strings.Contains(err.Error(), "apis[1].hosts: API \"more\" is reached at app.test"+base+", where the gateway's own own is"); refused == good {
			t.Errorf("base %q: %v", base, err)
		}
	}
}

// A server behind sets none of the gateway's cookies, also by one without a name, which some browsers send as its value alone.
func TestSetsOwn(t *testing.T) {
	for field, own := range map[string]bool{
		"__Host-gatehouse-session=x; Path=/; Secure": true, "\t__host-Gatehouse-begin=x": true, "=__Host-gatehouse-session=x; Secure": true, " = __Host-gatehouse-session=x": true,
		"__Host-gatehouse-session": true, "basket=__Host-gatehouse-session=x": false, "__Host-basket=x": false, "": false, "=": false,
	} {
		if got := setsOwn(field); got != own {
			t.Errorf("%q: %t", field, got)
		}
	}
}
