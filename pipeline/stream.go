package pipeline

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// checkOrigin admits a websocket from a listed web origin, or from the API's own hosts when none is listed (row D16). A
// client that is no browser names no origin; it has proved itself by its credential.
func (t *trip) checkOrigin() gate.Verdict {
	origin := t.x.Request.Fields.Get("Origin")
	if origin == "" {
		return gate.Allow()
	}
	listed := t.plan.op.Stream.Origins
	if len(listed) > 0 {
		if slices.Contains(listed, origin) {
			return gate.Allow()
		}
	} else if u, err := url.Parse(origin); err == nil && strings.EqualFold(u.Host, hostPort(t.x.Request)) {
		return gate.Allow()
	}
	return gate.Deny(gate.BadOrigin, "stream.origin", "web origin %s may not open this websocket", gate.Mask(origin)).
		At(t.plan.op.Pointer).Fixed("stream: {origins: [" + origin + "]}")
}

func (t *trip) tunnel(response *http.Response) {}
