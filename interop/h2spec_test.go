package interop

import (
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// unspecified are the cases of h2spec that fail here, each with its reason. They fail for net/http as well.
func unspecified() map[string]string {
	const peculiar = "net/http answers 400 by itself, which is an answer and no error of the stream; nothing reaches a server"
	return map[string]string{
		"http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE": "net/http closes a connection whose SETTINGS name one setting twice, which is stricter than the RFC",

		"http2/8.1.2.2 Sends a HEADERS frame that contains the connection-specific header field":                       peculiar,
		"http2/8.1.2.2 Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"": peculiar,
	}
}

// D11: h2spec in its strict form against the gateway and against bare net/http, in one run: never fewer cases hold, and
// each that does not has its reason.
func TestH2spec(t *testing.T) {
	h2spec := filepath.Join(t.TempDir(), "h2spec")
	build := exec.Command("go", "build", "-C", "h2spec", "-o", h2spec, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "an answer that is long enough for windows to close in the middle of it")
	}
	bare := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	bare.EnableHTTP2, bare.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	bare.StartTLS()
	t.Cleanup(bare.Close)
	h := settle(t, `
openapi: 3.0.3
info: {title: root, version: "1"}
paths:
  /:
    get: {operationId: look, security: [], responses: {"200": {description: ok}}}
    post: {operationId: send, security: [], requestBody: {content: {application/octet-stream: {x-gatehouse-opaque: {accept_risk: a test}, schema: {type: string, format: binary}}}}, responses: {"200": {description: ok}}}
`, `
listen:
  at: [ADDRESS]
  admin: http://127.0.0.1:0
  certificates: [CERTIFICATE]
guards: {rate: {off: {accept_risk: h2spec asks as fast as it can}}}
apis:
  - name: root
    contract: contract.yaml
    to: [SERVER]
`, behind(t, answer))
	yardstick, whole := conform(t, h2spec, port(t, bare.URL))
	failed, total := conform(t, h2spec, h.port)
	t.Logf("of %d cases %d hold through Gatehouse, %d for net/http", total, total-len(failed), whole-len(yardstick))
	if total < 146 || whole != total {
		t.Errorf("%d cases, %d for net/http, want 146", total, whole)
	}
	if len(failed) > len(yardstick) {
		t.Errorf("%d cases fail, %d for net/http", len(failed), len(yardstick))
	}
	for name, how := range failed {
		if unspecified()[name] == "" {
			t.Errorf("%s: %s", name, how)
		}
	}
	h.sound(t)
}

func port(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// conform runs every case and gives those that do not hold. Some are races between an answer and an error of the engine, which
// an answer may win on a busy machine; so what fails is tried again by itself.
func conform(t *testing.T, h2spec, port string) (failed map[string]string, total int) {
	t.Helper()
	failed = map[string]string{}
	for _, c := range cases(t, h2spec, port) {
		total++
		for try := 0; c.how != "" && unspecified()[c.name] == "" && try < 6; try++ {
			for _, again := range cases(t, h2spec, port, c.id) {
				if again.name == c.name {
					c.how = again.how
				}
			}
		}
		if c.how != "" {
			failed[c.name] = c.how
		}
	}
	return failed, total
}

// conformity is one case: its number such as http2/5.1/9, its name, and how it failed; "" when it holds.
type conformity struct{ id, name, how string }

func cases(t *testing.T, h2spec, port string, only ...string) (list []conformity) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.xml")
	out, _ := exec.Command(h2spec, append([]string{"-S", "-t", "-k", "-h", "localhost", "-p", port, "-o", "2", "-j", file}, only...)...).CombinedOutput()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Name    string  `xml:"classname,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
				Skipped *string `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Suites {
		for i, c := range s.Cases {
			one := conformity{id: fmt.Sprintf("%s/%d", s.Package, i+1), name: s.Package + " " + c.Name}
			for how, said := range map[string]*string{"failed": c.Failure, "error": c.Error, "skipped": c.Skipped} {
				if said != nil {
					one.how = how + ": " + *said
				}
			}
			list = append(list, one)
		}
	}
	return list
}
