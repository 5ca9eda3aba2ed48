package main

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	sessions "github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
)

// Sessions end when they are named, and only then; who meant some and ended none is told, also by the exit code.
func TestSessionsThatAreMeant(t *testing.T) {
	t.Parallel()
	s := newStory(t, txtar.Parse([]byte(`Sessions that are ended.
-- gatehouse.yaml --
portal: {origin: "https://login.test", providers: [{name: corp, issuer: "https://id.test", client: gatehouse}]}
apis: [{name: shop, hosts: [api.test], contract: shop.yaml, to: ["http://upstream"], guards: {identity: {sessions: {providers: [corp]}}}}]
-- shop.yaml --
openapi: 3.0.3
info: {title: shop, version: "1"}
components: {securitySchemes: {login: {type: openIdConnect, openIdConnectUrl: "https://id.test"}}}
paths: {/any: {get: {operationId: any, security: [{login: []}], x-gatehouse-roles: [customer], responses: {"200": {description: ok}}}}}
-- sessions --
alice provider=corp
bob provider=corp
`)), crs())
	for name, c := range map[string]struct {
		q    sessionEnding
		want error
	}{
		"nothing named":    {sessionEnding{By: "ann"}, errWhichSessions},
		"all and some":     {sessionEnding{By: "ann", All: true, User: "alice"}, errWhichSessions},
		"an unknown id":    {sessionEnding{By: "ann", ID: strings.Repeat("A", 24)}, sessions.ErrGone},
		"an unknown user":  {sessionEnding{By: "ann", User: "nobody"}, errNoSession},
		"another provider": {sessionEnding{By: "ann", Provider: "partners"}, errNoSession},
	} {
		done, err := s.node.held.endSessions(t.Context(), s.node, c.q)
		if !errors.Is(err, c.want) || len(done.Ended) > 0 {
			t.Errorf("%s: %v %v", name, done, err)
		}
	}
	for _, c := range []struct {
		q     sessionEnding
		ended int
	}{{sessionEnding{By: "ann", User: "alice"}, 1}, {sessionEnding{By: "ann", All: true}, 1}, {sessionEnding{By: "ann", All: true}, 0}} {
		if done, err := s.node.held.endSessions(t.Context(), s.node, c.q); err != nil || len(done.Ended) != c.ended {
			t.Errorf("%+v: %v %v", c.q, done, err)
		}
	}
}
