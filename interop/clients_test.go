package interop

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const echoContract = `openapi: 3.1.0
info: {title: echo, version: "1"}
paths:
  /notes:
    get:
      operationId: find
      parameters:
        - {name: q, in: query, schema: {type: string}}
        - {name: tags, in: query, schema: {type: array, items: {type: string}}}
      responses: {"200": {description: ok}}
    post:
      operationId: add
      requestBody: {required: true, content: {application/json: {schema: {type: object, properties: {text: {type: string}, n: {type: integer}}}}}}
      responses: {"200": {description: ok}}
    put:
      operationId: replace
      requestBody: {required: true, content: {application/x-www-form-urlencoded: {schema: {type: object, properties: {text: {type: string}, n: {type: string}}}}}}
      responses: {"200": {description: ok}}
    delete: {operationId: drop, responses: {"200": {description: ok}}}
  /notes/{name}:
    get:
      operationId: read
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /pictures:
    post:
      operationId: addPicture
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              type: object
              properties: {title: {type: string}, file: {type: string, format: binary}}
      responses: {"200": {description: ok}}
  /uploads:
    put:
      operationId: upload
      x-gatehouse-stream: upload
      requestBody: {required: true, content: {application/octet-stream: {x-gatehouse-opaque: {accept_risk: a test}, schema: {type: string, format: binary}}}}
      responses: {"200": {description: ok}}
  /file: {get: {operationId: file, responses: {"200": {description: ok}}}}
`

const echoDocument = `listen: {at: ["ADDRESS"], admin: "http://127.0.0.1:0", certificates: [CERTIFICATE]}
guards:
  identity: {off: {accept_risk: a test of clients}}
  access: {off: {accept_risk: a test of clients}}
  rate: {off: {accept_risk: a test of clients}}
apis: [{name: echo, contract: contract.yaml, to: ["SERVER"]}]
`

// said is what the server behind saw of a request, as its answer tells the client.
type said struct {
	Method, Target, Body, Type, Cookie, Protocol string
	Length                                       int
	Fields                                       http.Header
}

// file is what /file serves: large enough for ranges and several packets.
func file() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 8<<10) }

// echo answers with what it has seen, and serves a file, compressed for those that want it.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/file" {
		w.Header().Set("Content-Type", "text/plain")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && r.Header.Get("Range") == "" {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Vary", "Accept-Encoding")
			z := gzip.NewWriter(w)
			_, _ = z.Write(file())
			_ = z.Close()
			return
		}
		http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(file()))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s := said{Method: r.Method, Target: r.RequestURI, Type: r.Header.Get("Content-Type"), Cookie: r.Header.Get("Cookie"), Protocol: r.Proto, Length: len(body), Fields: r.Header}
	if len(body) < 1000 {
		s.Body = string(body)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s)
}

// TestClients lets the clients that people have call the built gateway in the plain ways, over both protocols. Every use
// here must pass: a strict gateway that breaks curl is switched off by its first user.
func TestClients(t *testing.T) {
	t.Parallel()
	h := settle(t, echoContract, echoDocument, behind(t, echo))
	for _, protocol := range []string{"--http1.1", "--http2"} {
		t.Run("curl "+protocol, func(t *testing.T) { curls(t, h, protocol) })
	}
	for _, c := range []struct{ name, program, file string }{
		{"node", "node", "clients/fetch.mjs"},
		{"python", "python3", "clients/standard.py"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := program(t, []string{"NODE_EXTRA_CA_CERTS=" + h.ca, "GATEHOUSE_CA=" + h.ca, "GATEHOUSE_URL=" + h.url}, c.program, c.file)
			if want := "all good\n"; !strings.HasSuffix(out, want) {
				t.Errorf("%s says\n%s", c.file, out)
			}
		})
	}
	t.Run("wget", func(t *testing.T) { wgets(t, h) })
	t.Run("net/http", func(t *testing.T) { goClients(t, h) })
	t.Run("nghttp2", func(t *testing.T) { nghttps(t, h) })
	t.Run("refused", func(t *testing.T) { refusals(t, h) })
	h.sound(t)
}

// curl gives status, protocol and body of a call.
func curl(t *testing.T, h *house, args ...string) (status, protocol, body string) {
	t.Helper()
	args = append([]string{"-sS", "--max-time", "20", "--cacert", h.ca, "-w", "\n%{http_code} %{http_version}"}, args...)
	out := program(t, nil, "curl", args...)
	at := strings.LastIndexByte(out, '\n')
	if at < 0 {
		return "", "", out
	}
	status, protocol, _ = strings.Cut(out[at+1:], " ")
	return status, protocol, out[:at]
}

func curls(t *testing.T, h *house, protocol string) {
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	var squeezed bytes.Buffer
	z := gzip.NewWriter(&squeezed)
	_, _ = z.Write([]byte(`{"text":"squeezed","n":7}`))
	_ = z.Close()
	gz, large := put("body.gz", squeezed.Bytes()), put("large", bytes.Repeat([]byte("x"), 700<<10))
	text := put("picture.txt", []byte("not really a picture"))
	for _, c := range []struct {
		name string
		args []string
		want string // a regular expression in the body
	}{
		{"GET", []string{"/notes?q=two+words"}, `"Target":"/notes\?q=two%20words"`},
		{"GET, encoded by curl", []string{"-G", "--data-urlencode", "q=Zoë & co; 100%", "/notes"}, `"Target":"/notes\?q=Zo%C3%AB%20%26%20co%3B%20100%25"`},
		{"GET, a list", []string{"/notes?tags=a&tags=b"}, `"Target":"/notes\?tags=a\\u0026tags=b"`},
		{"GET, a path with UTF-8", []string{"/notes/Zo%C3%AB"}, `"Target":"/notes/Zo%C3%AB"`},
		{"GET, dots in a name", []string{"/notes/a.b..c"}, `"Target":"/notes/a.b..c"`},
		{"POST of JSON", []string{"--json", `{"text":"hello","n":1}`, "/notes"}, `"Body":"{\\"text\\":\\"hello\\",\\"n\\":1}"`},
		{"POST of JSON, chunked", []string{"-H", "Content-Type: application/json", "-H", "Transfer-Encoding: chunked", "-d", `{"text":"hello"}`, "/notes"}, `"Length":16`},
		{"PUT of a form", []string{"-X", "PUT", "-d", "text=a+b", "--data-urlencode", "n=c&d", "/notes"}, `"Type":"application/x-www-form-urlencoded"`},
		{"POST of gzip", []string{"-H", "Content-Encoding: gzip", "-H", "Content-Type: application/json", "--data-binary", "@" + gz, "/notes"}, `"Body":"{\\"text\\":\\"squeezed\\",\\"n\\":7}"`},
		{"POST of multipart", []string{"-F", "title=Zoë", "-F", "file=@" + text + ";type=text/plain", "/pictures"}, `not really a picture`},
		{"DELETE", []string{"-X", "DELETE", "/notes"}, `"Method":"DELETE"`},
		{"PUT of a file", []string{"-T", large, "-H", "Content-Type: application/octet-stream", "/uploads"}, `"Length":716800`},
		{"PUT of a file, 100-continue", []string{"-T", large, "-H", "Content-Type: application/octet-stream", "-H", "Expect: 100-continue", "/uploads"}, `"Length":716800`},
		{"PUT from a pipe, 100-continue", []string{"-T", "-", "-H", "Content-Type: application/octet-stream", "-H", "Expect: 100-continue", "/uploads"}, `"Length":0`},
		{"POST, 100-continue", []string{"--json", `{"text":"later"}`, "-H", "Expect: 100-continue", "/notes"}, `"Length":16`},
		{"cookies", []string{"-b", "a=1; theme=dark", "/notes"}, `"Cookie":"a=1; theme=dark"`},
		{"a long cookie", []string{"-b", "session=" + strings.Repeat("Zm9v", 1000), "/notes"}, `"Method":"GET"`},
		{"no User-Agent, no Accept", []string{"-A", "", "-H", "Accept:", "/notes"}, `"Method":"GET"`},
		{"fields that a proxy would set", []string{"-H", "X-Forwarded-For: 192.0.2.1", "-H", "Forwarded: for=192.0.2.1", "-H", "Via: 1.1 proxy", "/notes"}, `"X-Forwarded-For":\["127.0.0.1"\]`},
		{"two files in a form", []string{"-F", "title=two", "-F", "file=@" + text + ";filename=Zoë.txt", "/pictures"}, `"Method":"POST"`},
		{"a long URL", []string{"/notes?q=" + strings.Repeat("word%20", 500)}, `"Method":"GET"`},
		{"basic credentials", []string{"-u", "alice:wonder", "/notes"}, `"Method":"GET"`},
		{"a field", []string{"-H", "X-Request-Id: 7", "-A", "curious/1.0 (a; b)", "-e", "https://shop.example/", "/notes"}, `"X-Request-Id":\["7"\]`},
		{"--compressed", []string{"--compressed", "/file"}, `^(0123456789abcdef)+$`},
		{"range", []string{"-r", "16-31", "/file"}, `^0123456789abcdef$`},
		{"HEAD", []string{"-I", "/file"}, `(?im)^content-length: 131072\r?$`},
	} {
		args := append([]string{protocol}, c.args...)
		args[len(args)-1] = h.url + args[len(args)-1]
		status, version, body := curl(t, h, args...)
		good := status == "200" || c.name == "range" && status == "206"
		if !good || version != strings.TrimSuffix(strings.TrimPrefix(protocol, "--http"), ".0") {
			t.Errorf("%s: status %s over HTTP/%s: %.300s", c.name, status, version, body)
		} else if !regexp.MustCompile(c.want).MatchString(body) {
			t.Errorf("%s: no %s in %.600s", c.name, c.want, body)
		}
	}
	// Two calls on one connection, and an answer that has not changed.
	both := []string{"-sS", "--cacert", h.ca, protocol, "-w", "%{http_code} %{num_connects}\n", "-o", os.DevNull, h.url + "/file", "-o", os.DevNull, h.url + "/notes"}
	if out := program(t, nil, "curl", both...); out != "200 1\n200 0\n" {
		t.Errorf("two calls on one connection: %q", out)
	}
	if status, _, _ := curl(t, h, protocol, "https://127.0.0.1:"+h.port+"/notes"); status != "200" {
		t.Errorf("by address, without a server name: %s", status)
	}
	if status, _, _ := curl(t, h, "--http1.0", "--no-alpn", h.url+"/notes"); status != "200" { // as nginx calls servers behind it
		t.Errorf("HTTP/1.0: %s", status)
	}
	if status, _, _ := curl(t, h, protocol, "-H", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT", h.url+"/file"); status != "304" {
		t.Errorf("conditional GET: %s", status)
	}
}

func wgets(t *testing.T, h *house) {
	usual := []string{"-q", "-O", "-", "--tries=1", "--timeout=20", "--ca-certificate=" + h.ca}
	if out := program(t, nil, "wget", append(usual, h.url+"/notes?q=a+b")...); !strings.Contains(out, `"Target":"/notes?q=a%20b"`) {
		t.Errorf("GET: %s", out)
	}
	if out := program(t, nil, "wget", append(usual, "--header=Content-Type: application/json", `--post-data={"text":"w"}`, h.url+"/notes")...); !strings.Contains(out, `"Length":12`) {
		t.Errorf("POST: %s", out)
	}
}

func goClients(t *testing.T, h *house) {
	pem, err := os.ReadFile(h.ca)
	if err != nil {
		t.Fatal(err)
	}
	for _, two := range []bool{false, true} {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool(pem)}, ForceAttemptHTTP2: two, ExpectContinueTimeout: time.Second,
		}}
		do := func(method, target, media string, body io.Reader, change func(*http.Request)) (*http.Response, string) {
			request, err := http.NewRequestWithContext(context.Background(), method, h.url+target, body)
			if err != nil {
				t.Fatal(err)
			}
			if media != "" {
				request.Header.Set("Content-Type", media)
			}
			if change != nil {
				change(request)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatalf("%s %s: %v", method, target, err)
			}
			defer response.Body.Close()
			b, err := io.ReadAll(response.Body)
			if err != nil {
				t.Errorf("%s %s: %v", method, target, err)
			}
			if response.StatusCode >= 300 || response.ProtoMajor == 2 != two {
				t.Errorf("%s %s: %s %s %s", method, target, response.Proto, response.Status, b)
			}
			return response, string(b)
		}
		do("GET", "/notes?q=a%26b", "", nil, nil)
		do("POST", "/notes", "application/json", strings.NewReader(`{"text":"go"}`), nil)
		do("POST", "/notes", "application/json; charset=utf-8", struct{ io.Reader }{strings.NewReader(`{"text":"chunked"}`)}, nil)
		do("PUT", "/uploads", "application/octet-stream", bytes.NewReader(file()), func(r *http.Request) { r.Header.Set("Expect", "100-continue") })
		if _, body := do("GET", "/file", "", nil, nil); body != string(file()) {
			t.Errorf("gzip, taken off by net/http: %d bytes", len(body))
		}
		if response, body := do("HEAD", "/file", "", nil, func(r *http.Request) { r.Header.Set("Accept-Encoding", "identity") }); body != "" || response.ContentLength != int64(len(file())) {
			t.Errorf("HEAD: %d bytes announced, %d sent", response.ContentLength, len(body))
		}
		client.CloseIdleConnections()
	}
}

// nghttps is the reference implementation of HTTP/2, and its load generator: many streams on few connections.
func nghttps(t *testing.T, h *house) {
	if out := program(t, nil, "nghttp", "-nv", "--no-dep", h.url+"/notes?q=x"); !strings.Contains(out, ":status: 200") {
		t.Errorf("nghttp: %s", out)
	}
	out := program(t, nil, "h2load", "-n", "300", "-c", "4", "-m", "50", h.url+"/notes?q=x")
	if !strings.Contains(out, "300 succeeded, 0 failed, 0 errored, 0 timeout") || !strings.Contains(out, "300 2xx") {
		t.Errorf("h2load: %s", out)
	}
}

// refusals are what the strict profile denies although a common client can send it. Each is deliberate: where one is
// admitted some day, README and guide have to say so.
func refusals(t *testing.T, h *house) {
	reasonOf := func(body string) string {
		var p struct{ Event string }
		_ = json.Unmarshal([]byte(body), &p)
		return reasons(h.events(t))[p.Event]
	}
	for _, c := range []struct {
		what   string
		args   []string
		status string
		reason string
	}{
		{"a parameter that is not declared", []string{"/notes?debug=1"}, "400", "contract.unknown_parameter"},
		{"a raw semicolon in the query", []string{"/notes?q=a;b"}, "400", "query.malformed"},
		{"a percent sign that encodes nothing", []string{"/notes?q=100%"}, "400", "query.malformed"},
		{"raw bytes beyond ASCII in the query", []string{"/notes?q=\xc3\xab"}, "400", "query.malformed"},
		{"an encoded slash in the path", []string{"/notes/a%2fb"}, "400", "path.encoded_slash"},
		{"dot segments", []string{"--path-as-is", "/notes/../file"}, "400", "path.dot_segment"},
		{"two slashes in a row", []string{"//file"}, "400", "path.empty_segment"},
		{"a path parameter", []string{"/notes/a;v=1"}, "400", "path.matrix_param"},
		{"an underscore in a field's name", []string{"-H", "X_Request_Id: 7", "/notes"}, "400", "field.underscore"},
		{"TRACE", []string{"-X", "TRACE", "/notes"}, "405", "method.refused"},
		{"a method that is not declared", []string{"-X", "PATCH", "/notes"}, "405", "match.method"},
		{"GET with a body", []string{"-X", "GET", "--json", "{}", "/notes"}, "400", "contract.body_unexpected"},
		{"JSON that is called a form", []string{"-d", "{}", "/notes"}, "415", "contract.media_type"},
		{"a coding that nobody declares", []string{"--json", "{}", "-H", "Content-Encoding: compress", "/notes"}, "415", "coding.unknown"},
		{"JSON in Latin-1", []string{"-H", "Content-Type: application/json; charset=iso-8859-1", "-d", "{}", "/notes"}, "415", "media.charset"},
		{"JSON with a comma too many", []string{"--json", `{"n":1,}`, "/notes"}, "400", "body.json"},
		{"JSON with a member twice", []string{"--json", `{"n":1,"n":2}`, "/notes"}, "400", "body.duplicate_member"},
		{"JSON behind a byte order mark", []string{"--json", "\xef\xbb\xbf{}", "/notes"}, "400", "body.bom"},
		{"a property that is not declared", []string{"--json", `{"admin":true}`, "/notes"}, "400", "contract.unknown_property"},
		{"a cookie twice", []string{"-b", "a=1; a=2", "/notes"}, "400", "cookie.duplicate"},
		{"a raw quote in a cookie", []string{"-b", `prefs={"a":1}`, "/notes"}, "400", "cookie.malformed"},
		{"a cookie without a name", []string{"-b", "a=1; lonely", "/notes"}, "400", "cookie.malformed"},
		{"a field twice that is one", []string{"-H", "Authorization: Bearer a", "-H", "authorization: Bearer b", "/notes"}, "400", "field.duplicate"},
		{"a form without its media type", []string{"-X", "PUT", "-H", "Content-Type:", "-d", "text=a", "/notes"}, "415", "contract.media_type"},
		{"a quote in a file's name", []string{"-F", "file=@clients/fetch.mjs;filename=John's words.txt", "/pictures"}, "403", "waf.rule"}, // 920120
		{"many ranges", []string{"-r", "0-1,2-3,4-5,6-7,8-9,10-11,12-13", "/file"}, "400", "field.range"},
	} {
		args := append([]string(nil), c.args...)
		args[len(args)-1] = h.url + args[len(args)-1]
		status, _, body := curl(t, h, args...)
		reason := reasonOf(body)
		t.Logf("%-45s %s %s", c.what, status, reason)
		if status != c.status || reason != c.reason {
			t.Errorf("%s: %s %s, want %s %s", c.what, status, reason, c.status, c.reason)
		}
	}
}
