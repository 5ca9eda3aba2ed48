package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

const canaryStory = `Two hundred secrets, each in another place.
-- gatehouse.yaml --
listen: {at: ["http://127.0.0.1:0"], admin: "http://127.0.0.1:0"}
guards:
  identity: {development: {accept_risk: a test}}
  rate: {per_address: 1000/s burst 10000, per_caller: 1000/s burst 10000}
  contract: {}
apis:
  - {name: shop, contract: shop.yaml, to: ["http://upstream"]}
  - name: watched
    base: /watched
    contract: shop.yaml
    to: ["http://upstream"]
    guards: {contract: {dry_run: {accept_risk: a test, until: 2099-01-01}}}
-- shop.yaml --
openapi: 3.0.3
info: {title: shop, version: "1"}
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
paths:
  /things/{key}:
    get:
      operationId: getThing
      security: []
      parameters:
        - {name: key, in: path, required: true, schema: {type: string, maxLength: 60}}
        - {name: token, in: query, schema: {type: string, maxLength: 60}}
        - {name: q, in: query, schema: {type: string, maxLength: 60}}
        - {name: n, in: query, schema: {type: integer}}
        - {name: X-Number, in: header, schema: {type: integer}}
        - {name: session, in: cookie, schema: {type: integer}}
      responses: {"200": {description: ok}}
    post:
      operationId: putThing
      security: [{token: []}]
      parameters: [{name: key, in: path, required: true, schema: {type: string, maxLength: 60}}]
      requestBody:
        content:
          application/json: {schema: {type: object, properties: {a: {type: string, maxLength: 100}, n: {type: integer}, w: {type: string, enum: [x, y]}}}}
          application/x-www-form-urlencoded: {schema: {type: object, properties: {a: {type: string, maxLength: 100}, n: {type: integer}}}}
          multipart/form-data: {schema: {type: object, properties: {a: {type: string, maxLength: 100}, n: {type: integer}}}}
      responses: {"200": {description: ok}}
-- callers --
ann role=customer
`

// place is a place for a secret: head and body of a request.
type place func(secret, token string) (head, body string)

func form(media, format string) place {
	return func(secret, token string) (string, string) {
		return "POST /things/k HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer " + token + "\r\nContent-Type: " + media + "\r\n", fmt.Sprintf(format, secret)
	}
}

func head(format string) place {
	return func(secret, _ string) (string, string) {
		return fmt.Sprintf(strings.ReplaceAll(format, "\n", "\r\n"), secret) + "\r\n", ""
	}
}

const part = "--b\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%%s\r\n--b--\r\n"

// leaks are the places where people and attackers put secrets, good requests and bad ones. The host is not among them: it is public
// (server names go over the wire in the clear) and an event without it explains little.
func leaks() map[string]place {
	get := func(target string) place { return head("GET " + target + " HTTP/1.1\nHost: api.test") }
	field := func(line string) place { return head("GET /things/k HTTP/1.1\nHost: api.test\n" + line) }
	return map[string]place{
		"bearer":               field("Authorization: Bearer %s"),
		"bearer, three parts":  field("Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.%s"),
		"another scheme":       field("Authorization: Secret %s"),
		"cookie":               field("Cookie: theme=dark; sid=%s"),
		"declared cookie":      field("Cookie: session=%s"),
		"cookie, malformed":    field("Cookie: a b=%s;;"),
		"token in query":       get("/things/k?token=%s"),
		"undeclared in query":  get("/things/k?apikey=%s"),
		"number in query":      get("/things/k?n=%s"),
		"long text in query":   get("/things/k?q=%s"),
		"malformed query":      get("/things/k?q=%s<"),
		"path":                 get("/things/%s"),
		"unknown path":         get("/%s/nothing"),
		"matrix in path":       get("/things/k;s=%s"),
		"dry run":              get("/watched/things/k?apikey=%s"),
		"own field":            field("X-Api-Key: %s"),
		"declared field":       field("X-Number: %s"),
		"forged field":         field("Gatehouse-Subject: %s"),
		"broken field":         field("X-Broken %s"),
		"byte in field":        field("X-Broken: %s\x01"),
		"userinfo":             head("GET http://ann:%s@api.test/ HTTP/1.1\nHost: api.test"),
		"method":               head("%s /things/k HTTP/1.1\nHost: api.test"),
		"request line":         head("GET /things/k HTTP/1.1 %s\nHost: api.test"),
		"upgrade":              field("Connection: upgrade\nUpgrade: %s"),
		"media type":           form("application/x-%s", "{}"),
		"json, good":           form("application/json", `{"a":"%s"}`),
		"json, wrong type":     form("application/json", `{"n":"%s"}`),
		"json, not in list":    form("application/json", `{"w":"%s"}`),
		"json, unknown":        form("application/json", `{"zzz":"%s"}`),
		"json, malformed":      form("application/json", `{"a":"%s`),
		"json, trailing":       form("application/json", `{} %s`),
		"json, attack":         form("application/json", `{"a":"x' OR 1=1 UNION SELECT %s FROM users--"}`),
		"query, attack":        get("/things/k?q=%s'%%20OR%%201=1--"),
		"form, good":           form("application/x-www-form-urlencoded", "a=%s"),
		"form, wrong type":     form("application/x-www-form-urlencoded", "n=%s"),
		"form, unknown":        form("application/x-www-form-urlencoded", "password=%s"),
		"form, malformed":      form("application/x-www-form-urlencoded", "a=%%%%zz%s"),
		"multipart, good":      form("multipart/form-data; boundary=b", fmt.Sprintf(part, "a", "")),
		"multipart, wrong":     form("multipart/form-data; boundary=b", fmt.Sprintf(part, "n", "")),
		"multipart, unknown":   form("multipart/form-data; boundary=b", fmt.Sprintf(part, "zzz", "")),
		"multipart, file name": form("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"../%s\"\r\n\r\nx\r\n--b--\r\n"),
		"multipart, broken":    form("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: %s\r\n\r\n"),
		"traceparent":          field("Traceparent: %s"),
		"forwarded":            field("X-Forwarded-For: %s"),
		"referer":              field("Referer: https://shop.example/?reset=%s"),
		"user agent":           field("User-Agent: sqlmap %s"),
		"basic": func(secret, _ string) (string, string) {
			return "GET /things/k HTTP/1.1\r\nHost: api.test\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+secret)) + "\r\n", ""
		},
		"server's answer": func(secret, _ string) (string, string) {
			return "GET /things/answer." + url.PathEscape(secret) + " HTTP/1.1\r\nHost: api.test\r\n", ""
		},
	}
}

// TestNoSecretLeaves: rows K1 and K2. Two hundred secrets in more than forty places; none of them is in any event, log, metric, problem
// body or explanation, neither whole nor in its greater part, plain or in base 64.
func TestNoSecretLeaves(t *testing.T) {
	archive := txtar.Parse([]byte(strings.ReplaceAll(canaryStory, "http://upstream", leaky(t))))
	s := newStory(t, archive, crs())
	var secrets []string
	sinks := map[string]string{}
	for range 5 {
		for name, place := range leaks() {
			var random [18]byte
			_, _ = rand.Read(random[:])
			secret := "S" + hex.EncodeToString(random[:]) // 37 characters, like a key
			secrets = append(secrets, secret)
			requestHead, body := place(secret, s.tokens["ann"])
			if body != "" {
				requestHead += fmt.Sprintf("Content-Length: %d\r\n", len(body))
			}
			answer := talk(t, strings.TrimPrefix(s.node.server.Addresses()[0], "http://"), requestHead+"\r\n"+body)
			if !strings.HasPrefix(answer, "HTTP/1.1 ") {
				t.Errorf("%s: no answer but %q", name, answer)
			}
			sinks["answers"] += answer
		}
	}
	response, err := http.Get("http://" + s.node.admin.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	sinks["metrics"] = string(metrics)
	events := s.end()
	var explained bytes.Buffer
	for _, e := range events {
		explain(&explained, e)
	}
	sinks["explain"], sinks["log"] = explained.String(), s.logged.String()
	files, err := os.ReadDir(filepath.Join(s.node.state, "events"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(s.node.state, "events", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sinks["event files"] += string(data)
	}
	secrets = append(secrets, s.tokens["ann"][len(s.tokens["ann"])-40:])
	if len(secrets) < 200 || len(events) < len(secrets) || len(sinks["event files"]) < 50_000 || len(sinks["explain"]) < 20_000 {
		t.Fatalf("%d secrets, %d events: nothing was tested", len(secrets), len(events))
	}
	for sink, text := range sinks {
		for _, secret := range secrets {
			if at := leak(text, secret); at >= 0 {
				t.Errorf("%s: ...%q...", sink, text[max(0, at-200):min(len(text), at+80)])
			}
		}
	}
}

// leak finds a secret, half of it, or its base 64.
func leak(text, secret string) int {
	for _, form := range []string{secret, secret[:len(secret)/2], secret[len(secret)/2:], base64.StdEncoding.EncodeToString([]byte("ann:" + secret))[8:40]} {
		if at := strings.Index(text, form); at >= 0 {
			return at
		}
	}
	return -1
}

// talk sends bytes and reads what comes, the first answer at least.
func talk(t *testing.T, address, bytes string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// leaky is a server that answers with what a careless server answers: malformed, with the secret in it. Everything else it
// answers with an empty object.
func leaky(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := c.Read(buffer)
					if err != nil {
						return
					}
					if _, rest, ok := strings.Cut(string(buffer[:n]), "/things/answer."); ok {
						secret, _, _ := strings.Cut(rest, " ")
						fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nSet-Cookie %s\r\nX: %s\x00\r\n\r\npanic: password=%s", secret, secret, secret)
						return
					}
					if bytes.Contains(buffer[:n], []byte("HTTP/1.1\r\n")) {
						fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
