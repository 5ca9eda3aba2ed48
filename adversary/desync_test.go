package adversary

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

const desyncDocument = `
listen: {at: ["http://127.0.0.1:0"], admin: "http://ADMIN"}
guards: {waf: {off: {accept_risk: "it would refuse what the framing lets pass, and hide what becomes of it"}}}
apis:
  - {name: go, hosts: [go.test], contract: framing.yaml, to: ["http://GO"]}
  - {name: nginx, hosts: [nginx.test], contract: framing.yaml, to: ["http://NGINX"]}
  - {name: haproxy, hosts: [haproxy.test], contract: framing.yaml, to: ["http://HAPROXY"]}
`

const framingContract = `
openapi: 3.0.3
info: {title: framing, version: "1"}
paths:
  /get:
    get:
      operationId: get
      security: []
      parameters: [{name: who, in: query, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /read:
    post:
      operationId: read
      security: []
      requestBody: {content: {text/plain: {schema: {type: string}}}}
      responses: {"200": {description: ok}}
  /stream:
    post:
      operationId: stream
      security: []
      x-gatehouse-stream: upload
      requestBody: {content: {application/octet-stream: {schema: {type: string, format: binary}}}}
      responses: {"200": {description: ok}}
`

// desync is one framing that two readers may understand differently. HOST stands for the API's host; every case carries a
// second request that only a reader who errs about the first one would find.
type desync struct{ name, raw string }

func desyncCorpus() []desync {
	const inner = "GET /get?who=smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"
	chunked := "Transfer-Encoding: chunked"
	length := fmt.Sprint("Content-Length: ", len(inner))
	inChunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)
	framings := []desync{ // fields and body of a POST
		{"plain length", length + "\r\n\r\n" + inner},
		{"plain chunks", chunked + "\r\n\r\n" + inChunks},
		{"zero length", "Content-Length: 0\r\n\r\n" + inner},
		{"no length", "X-A: 1\r\n\r\n" + inner},
		{"cl.te", length + "\r\n" + chunked + "\r\n\r\n0\r\n\r\n" + inner},
		{"te.cl", chunked + "\r\nContent-Length: 4\r\n\r\n" + inChunks},
		{"two lengths", "Content-Length: 0\r\n" + length + "\r\n\r\n" + inner},
		{"equal lengths", length + "\r\n" + length + "\r\n\r\n" + inner},
		{"length list", fmt.Sprintf("Content-Length: %d, %d\r\n\r\n%s", len(inner), len(inner), inner)},
		{"plus length", "Content-Length: +" + fmt.Sprint(len(inner)) + "\r\n\r\n" + inner},
		{"hex length", fmt.Sprintf("Content-Length: 0x%x\r\n\r\n%s", len(inner), inner)},
		{"space in name", "Content-Length : 0\r\n" + length + "\r\n\r\n" + inner},
		{"tab before length", "Content-Length:\t0\r\n\r\n" + inner},
		{"nul in length", "Content-Length: 0\x00\r\n\r\n" + inner},
		{"underscore", "Content_Length: 0\r\n" + length + "\r\n\r\n" + inner},
		{"folded length", "Content-Length:\r\n 0\r\n\r\n" + inner},
		{"te twice", chunked + "\r\n" + chunked + "\r\n\r\n" + inChunks},
		{"te identity", "Transfer-Encoding: identity\r\n" + length + "\r\n\r\n" + inner},
		{"te list", "Transfer-Encoding: identity, chunked\r\n\r\n" + inChunks},
		{"te after", "Transfer-Encoding: chunked, identity\r\n\r\n" + inChunks},
		{"te x", "Transfer-Encoding: xchunked\r\n" + length + "\r\n\r\n" + inner},
		{"te quoted", "Transfer-Encoding: \"chunked\"\r\n\r\n" + inChunks},
		{"te tab", "Transfer-Encoding:\tchunked\r\n\r\n" + inChunks},
		{"te vt", "Transfer-Encoding: \x0bchunked\r\n\r\n" + inChunks},
		{"te trailing", "Transfer-Encoding: chunked \r\n\r\n" + inChunks},
		{"te case", "tRANSFER-eNCODING: CHUNKED\r\n\r\n" + inChunks},
		{"te space", "Transfer-Encoding : chunked\r\n" + length + "\r\n\r\n" + inner},
		{"te in x", "X-A: 1\nTransfer-Encoding: chunked\r\n" + length + "\r\n\r\n" + inner},
		{"te behind cr", "X-A: 1\rTransfer-Encoding: chunked\r\n" + length + "\r\n\r\n" + inner},
		{"te folded", "Transfer-Encoding:\r\n chunked\r\n" + length + "\r\n\r\n" + inner},
		{"te underscore", "Transfer_Encoding: chunked\r\n" + length + "\r\n\r\n" + inner},
		{"te empty", "Transfer-Encoding:\r\n" + length + "\r\n\r\n" + inner},
		{"te dechunked", "Transfer-Encoding: chunked;q=1\r\n\r\n" + inChunks},
		{"connection te", "Connection: close, Transfer-Encoding\r\n" + chunked + "\r\n\r\n" + inChunks},
		{"connection length", "Connection: Content-Length\r\n" + length + "\r\n\r\n" + inner},
		{"chunk 0x", chunked + "\r\n\r\n0x2\r\nab\r\n0\r\n\r\n" + inner},
		{"chunk plus", chunked + "\r\n\r\n+2\r\nab\r\n0\r\n\r\n" + inner},
		{"chunk space", chunked + "\r\n\r\n2 \r\nab\r\n0\r\n\r\n" + inner},
		{"chunk extension", chunked + "\r\n\r\n2;a=b\r\nab\r\n0\r\n\r\n" + inner},
		{"chunk extension lf", chunked + "\r\n\r\n2;a\nab\r\n0\r\n\r\n" + inner},
		{"chunk quoted crlf", chunked + "\r\n\r\n2;a=\"\r\nab\r\n0\r\n\r\n\"" + inner},
		{"chunk lf", chunked + "\r\n\r\n2\nab\n0\n\n" + inner},
		{"chunk longer", chunked + "\r\n\r\n2\r\nabc\r\n0\r\n\r\n" + inner},
		{"chunk overflow", chunked + "\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n" + inner},
		{"chunk zeros", chunked + "\r\n\r\n" + strings.Repeat("0", 40) + "2\r\nab\r\n0\r\n\r\n" + inner},
		{"chunk cr", chunked + "\r\n\r\n2\rab\r\n0\r\n\r\n" + inner},
		{"last chunk with data", chunked + "\r\n\r\n0\r\n" + inner + "\r\n\r\n"},
		{"trailer", chunked + "\r\n\r\n2\r\nab\r\n0\r\nContent-Length: 5\r\n\r\n" + inner},
		{"trailer host", chunked + "\r\n\r\n2\r\nab\r\n0\r\nHost: evil.test\r\n\r\n" + inner},
		{"expect", "Expect: 100-continue\r\n" + length + "\r\n\r\n" + inner},
		{"expect zero", "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n" + inner},
		{"expect twice", "Expect: 100-continue\r\nExpect: 100-continue\r\n" + length + "\r\n\r\n" + inner},
		{"lf head", "X-A: 1\n\n" + inner},
	}
	var corpus []desync
	for i, f := range framings {
		target, media := "/read", "text/plain"
		if i%2 == 1 {
			target, media = "/stream", "application/octet-stream"
		}
		corpus = append(corpus, desync{f.name, "POST " + target + " HTTP/1.1\r\nHost: HOST\r\nContent-Type: " + media + "\r\n" + f.raw})
	}
	line := func(name, raw string) { corpus = append(corpus, desync{name, raw + inner}) }
	line("get with length", "GET /get HTTP/1.1\r\nHost: HOST\r\n"+length+"\r\n\r\n")
	line("get with chunks", "GET /get HTTP/1.1\r\nHost: HOST\r\n"+chunked+"\r\n\r\n0\r\n\r\n")
	line("head", "HEAD /get HTTP/1.1\r\nHost: HOST\r\n\r\n")
	line("1.0", "POST /read HTTP/1.0\r\nHost: HOST\r\nContent-Type: text/plain\r\n"+chunked+"\r\n\r\n0\r\n\r\n")
	line("1.0 kept", "GET /get HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\n\r\n")
	line("0.9", "GET /get\r\n")
	line("1.2", "GET /get HTTP/1.2\r\nHost: HOST\r\n\r\n")
	line("two spaces", "GET  /get HTTP/1.1\r\nHost: HOST\r\n\r\n")
	line("tab", "GET\t/get HTTP/1.1\r\nHost: HOST\r\n\r\n")
	line("space in target", "GET /get HTTP/1.1 HTTP/1.1\r\nHost: HOST\r\n\r\n")
	line("leading empty lines", "\r\n\r\nGET /get HTTP/1.1\r\nHost: HOST\r\n\r\n")
	line("upgrade", "GET /get HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	return corpus
}

// seenBy gives the event ids of the requests that a server behind has understood and read to their end, "-" for one
// without. A streamed request whose body turns out to be malformed is broken off, so no server reads it to its end.
type seenBy func() []string

// C23: whatever two readers may disagree about, each server behind understands exactly the requests that were accepted.
func TestDesyncCorpus(t *testing.T) {
	t.Parallel()
	corpus := desyncCorpus()
	if len(corpus) < 65 {
		t.Fatalf("%d cases", len(corpus))
	}
	backends := map[string]seenBy{}
	var addresses [3]string
	addresses[0], backends["go"] = goBackend(t)
	addresses[1], backends["nginx"] = nginxBackend(t)
	addresses[2], backends["haproxy"] = haproxyBackend(t)
	document := strings.NewReplacer("GO", addresses[0], "NGINX", addresses[1], "HAPROXY", addresses[2]).Replace(desyncDocument)
	g := another(t, document, map[string]string{"framing.yaml": framingContract})
	for backend, seen := range backends {
		t.Run(backend, func(t *testing.T) {
			var accepted, callers []string
			for _, c := range corpus {
				from := source()
				callers = append(callers, from)
				raw := strings.ReplaceAll(c.raw, "HOST", backend+".test")
				conn, err := g.dial(from)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				if _, err := io.WriteString(conn, raw+"GET /get?who=last HTTP/1.1\r\nHost: "+backend+".test\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				if _, err := io.ReadAll(conn); err != nil && timeout(err) {
					t.Errorf("%s: the connection stays open", c.name)
				}
				conn.Close()
			}
			last := source() // the log is in order: once this one is in it, all are
			g.sendRaw(t, last, "GET /nowhere HTTP/1.1\r\nHost: "+backend+".test\r\n\r\n", false, false)
			g.events.from(t, last, 1)
			for _, from := range callers {
				for _, e := range g.events.from(t, from, 1) {
					if e.Kind == gate.KindExchange && e.Decision.Verdict == "allow" {
						accepted = append(accepted, e.ID)
					}
				}
			}
			slices.Sort(accepted)
			var got []string
			for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
				if got = seen(); len(got) >= len(accepted) {
					break
				}
			}
			slices.Sort(got)
			t.Logf("%d cases, %d requests accepted, %d seen", len(corpus), len(accepted), len(got))
			if !slices.Equal(got, accepted) {
				for _, id := range got {
					if !slices.Contains(accepted, id) {
						e := g.events.id(t, id)
						t.Errorf("seen, but not accepted: %s %s %s: %s %s", id, e.Request.Method, e.Request.Operation, e.Decision.Reason, e.Decision.Detail)
					}
				}
				t.Errorf("accepted %d, seen %d", len(accepted), len(got))
			}
		})
	}
}

// another starts a gateway of its own for a test.
func another(t *testing.T, document string, files map[string]string) *gateway {
	t.Helper()
	g, err := startGateway(shortDir(t), document, files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	return g
}

// shortDir is a directory of the test's own whose name says nothing: long names with many digits look like secrets to the
// reader of documents.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func goBackend(t *testing.T) (string, seenBy) {
	var mu sync.Mutex
	var ids []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // never complete
		}
		mu.Lock()
		ids = append(ids, orElse(r.Header.Get("Gatehouse-Event"), "-"))
		mu.Unlock()
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ids)
	}
}

func nginxBackend(t *testing.T) (string, seenBy) {
	address := loopback.Address()
	inner := loopback.Address() // the outer server passes on what it has read to its end
	dir := startNginx(t, `log_format seen '$http_gatehouse_event'; access_log off;
		server { listen `+address+`; location / { proxy_pass http://`+inner+`; } }
		server { listen `+inner+`; access_log DIR/seen.log seen; location / { return 200 "{}"; } }`, address)
	return address, func() []string {
		text, err := os.ReadFile(filepath.Join(dir, "seen.log"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(text))
	}
}

func haproxyBackend(t *testing.T) (string, seenBy) {
	address := loopback.Address()
	inner, seen := goBackend(t) // haproxy passes on what it has understood
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := `
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
  timeout http-keep-alive 20s
frontend seen
  bind ` + address + `
  default_backend behind
backend behind
  server one ` + inner + `
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, address, exec.Command(tool(t, "haproxy", "haproxy"), "-db", "-f", config), new(lines))
	return address, seen
}
