package pipeline

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

func TestCORSAnswers(t *testing.T) {
	listed := CORS{Origins: []string{"https://shop.example", "http://localhost:3000"}, Credentials: true, Expose: []string{"ETag", "Location"}}
	for _, c := range []struct {
		name        string
		cors        CORS
		origin      string
		allowed     string // Access-Control-Allow-Origin
		credentials bool
		vary        bool
	}{
		{"none is the default", CORS{}, "https://shop.example", "", false, false},
		{"listed", listed, "https://shop.example", "https://shop.example", true, true},
		{"listed, a port", listed, "http://localhost:3000", "http://localhost:3000", true, true},
		{"not listed", listed, "https://evil.example", "", false, true},
		{"no origin", listed, "", "", false, true},
		{"null", listed, "null", "", false, true},
		{"another scheme", listed, "http://shop.example", "", false, true},
		{"another port", listed, "https://shop.example:8443", "", false, true},
		{"another case", listed, "https://SHOP.example", "", false, true},
		{"a longer name", listed, "https://shop.example.evil.example", "", false, true},
		{"a name in front", listed, "https://evil-shop.example", "", false, true},
		{"a slash behind", listed, "https://shop.example/", "", false, true},
		{"a wildcard is a word", listed, "*", "", false, true},
		{"everybody", CORS{Origins: []string{"*"}}, "https://evil.example", "*", false, true},
	} {
		h := http.Header{"Vary": {"Accept"}}
		c.cors.mark(h, c.origin)
		if got := h.Get("Access-Control-Allow-Origin"); got != c.allowed {
			t.Errorf("%s: allowed %q, want %q", c.name, got, c.allowed)
		}
		if got := h.Get("Access-Control-Allow-Credentials") == "true"; got != c.credentials {
			t.Errorf("%s: credentials %v", c.name, got)
		}
		if got := strings.Join(h["Vary"], ",") == "Accept,Origin"; got != c.vary {
			t.Errorf("%s: Vary %v", c.name, h["Vary"])
		}
		if got := h.Get("Access-Control-Expose-Headers") != ""; got != (c.allowed != "" && c.cors.Expose != nil) {
			t.Errorf("%s: expose %q", c.name, h.Get("Access-Control-Expose-Headers"))
		}
	}
}

func TestCORSPreflights(t *testing.T) {
	usual := CORS{Origins: []string{"https://shop.example"}}
	own := CORS{Origins: []string{"https://shop.example"}, Fields: []string{"X-Request-Id"}}
	for _, c := range []struct {
		name                   string
		cors                   CORS
		origin, method, fields string
		reason                 gate.Reason // "" when it is allowed
		told                   string      // Access-Control-Allow-Headers
	}{
		{"plain", usual, "https://shop.example", "GET", "", "", ""},
		{"usual fields", usual, "https://shop.example", "POST", "content-type, authorization", "", "Authorization, Content-Type"},
		{"spaces", usual, "https://shop.example", "POST", " content-type ,authorization ", "", "Authorization, Content-Type"},
		{"one field too many", usual, "https://shop.example", "POST", "content-type, x-role", "cors.field", ""},
		{"an empty field", usual, "https://shop.example", "POST", "content-type,", "cors.field", ""},
		{"listed fields stand in for the usual", own, "https://shop.example", "POST", "authorization", "cors.field", ""},
		{"listed fields", own, "https://shop.example", "POST", "x-request-id", "", "X-Request-Id"},
		{"undeclared method", usual, "https://shop.example", "DELETE", "", "cors.method", ""},
		{"another case of method", usual, "https://shop.example", "get", "", "cors.method", ""},
		{"stranger", usual, "https://evil.example", "GET", "", "cors.origin", ""},
		{"none listed", CORS{}, "https://shop.example", "GET", "", "cors.origin", ""},
		{"null", usual, "null", "GET", "", "cors.origin", ""},
	} {
		asked := http.Header{"Origin": {c.origin}, "Access-Control-Request-Method": {c.method}}
		if c.fields != "" {
			asked.Set("Access-Control-Request-Headers", c.fields)
		}
		h, v := c.cors.answerPreflight(asked, []string{"GET", "HEAD", "POST"})
		if v.Reason != c.reason || v.Allowed() != (c.reason == "") {
			t.Errorf("%s: %+v", c.name, v)
			continue
		}
		if !v.Allowed() {
			continue
		}
		if h.Get("Access-Control-Allow-Methods") != c.method || h.Get("Access-Control-Allow-Headers") != c.told || h.Get("Access-Control-Allow-Origin") != c.origin {
			t.Errorf("%s: %v", c.name, h)
		}
	}
}

// Wrong uses: every one is refused, at its place.
func TestCORSMistakes(t *testing.T) {
	for place, c := range map[string]CORS{
		"origins[0]: every origin": {Origins: []string{"*"}, Credentials: true},
		"origins[0]: no scheme":    {Origins: []string{"shop.example"}},
		"origins[0]: null":         {Origins: []string{"null"}},
		"origins[0]: path":         {Origins: []string{"https://shop.example/"}},
		"origins[0]: query":        {Origins: []string{"https://shop.example?a"}},
		"origins[0]: user":         {Origins: []string{"https://me@shop.example"}},
		"origins[0]: upper case":   {Origins: []string{"https://Shop.example"}},
		"origins[0]: wildcard":     {Origins: []string{"https://*.example"}},
		"origins[0]: file":         {Origins: []string{"file://shop.example"}},
		"origins[0]: empty":        {Origins: []string{""}},
		"origins[0]: line":         {Origins: []string{"https://shop.example\r\nX: y"}},
		"origins[1]: second":       {Origins: []string{"https://a.example", "b.example"}},
		"fields[0]: all":           {Fields: []string{"*"}},
		"fields[0]: empty":         {Fields: []string{""}},
		"fields[1]: line":          {Fields: []string{"A", "X\r\nSet-Cookie: a=b"}},
		"fields[0]: list":          {Fields: []string{"A, B"}},
		"expose[0]: all":           {Expose: []string{"*"}},
		"expose[0]: line":          {Expose: []string{"X\nY"}},
	} {
		err := c.check()
		want, _, _ := strings.Cut(place, ":")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", place, err)
		}
	}
	if err := (CORS{Origins: []string{"https://a.example:8443", "*"}, Fields: []string{"X-A"}, Expose: []string{"ETag"}}).check(); err != nil {
		t.Errorf("a good section: %v", err)
	}
}

// A preflight is answered for what the contract declares at the path, and asks no server.
func TestPreflightThroughTheGateway(t *testing.T) {
	document := "apis: [{name: t, contract: c.yaml, to: [\"http://127.0.0.1:1\"], cors: {origins: [\"https://shop.example\"]}}]\n"
	r := serving(t, document, map[string]string{"c.yaml": plain})
	for _, c := range []struct {
		name, method, target, origin, asks string
		status                             int
		allowed                            string
	}{
		{"preflight", "OPTIONS", "/things", "https://shop.example", "POST", 204, "https://shop.example"},
		{"undeclared method", "OPTIONS", "/things", "https://shop.example", "DELETE", 405, "https://shop.example"},
		{"stranger", "OPTIONS", "/things", "https://evil.example", "POST", 403, ""},
		{"no question", "OPTIONS", "/things", "https://shop.example", "", 405, "https://shop.example"},
		{"unknown path", "OPTIONS", "/nothing", "https://shop.example", "GET", 404, "https://shop.example"},
		{"real request", "GET", "/things", "https://shop.example", "", 200, "https://shop.example"},
		{"real request of a stranger", "GET", "/things", "https://evil.example", "", 200, ""},
	} {
		fields := []string{"Origin", c.origin}
		if c.asks != "" {
			fields = append(fields, "Access-Control-Request-Method", c.asks, "Access-Control-Request-Headers", "authorization,content-type")
		}
		w := r.ask(c.method, "http://t.test"+c.target, "", fields...)
		if w.Code != c.status || w.Header().Get("Access-Control-Allow-Origin") != c.allowed || w.Header().Get("Vary") != "Origin" {
			t.Errorf("%s: %d %v", c.name, w.Code, w.Header())
		}
		if told := w.Header().Get("Access-Control-Allow-Headers") != "" && w.Header().Get("Access-Control-Allow-Methods") == c.asks; told != (c.status == 204) {
			t.Errorf("%s: a browser learns %v", c.name, w.Header())
		}
		if got := w.Header().Get("Allow"); (got != "") != (c.status == 405) || strings.Contains(got, "DELETE") { // RFC 9110 section 15.5.6
			t.Errorf("%s: Allow %q", c.name, got)
		}
		if len(w.Header()["Vary"]) != 1 {
			t.Errorf("%s: Vary %q", c.name, w.Header()["Vary"])
		}
		if (r.got != nil) != (c.method == "GET") || len(r.events) != 1 {
			t.Errorf("%s: server asked %v, %d events", c.name, r.got != nil, len(r.events))
		}
	}
}
