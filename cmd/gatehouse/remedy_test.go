package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// exceptions is one document; the comments are where an operator would write what explain prints.
const exceptions = `An operator reads an exception off explain, writes it where it says, and the request passes.
-- gatehouse.yaml --
listen: {at: ["http://127.0.0.1:0"], admin: "http://127.0.0.1:0"}
guards:
  identity: {development: {accept_risk: a test}}
  waf:
    paranoia: 1
    #guards.waf
  upload:
    files: 20
    #guards.upload
apis:
  - name: shop
    contract: shop.yaml
    to: ["http://upstream"]
    operations:
      listThings:
        scopes: [things:read, things:admin] #operations.listThings.scopes
-- shop.yaml --
openapi: 3.0.3
info: {title: shop, version: "1"}
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
paths:
  /things:
    get:
      operationId: listThings
      security: [{token: []}]
      x-gatehouse-roles: [staff] #shop.yaml#/paths/~1things/get/x-gatehouse-roles
      #shop.yaml#/paths/~1things/get
      responses: {"200": {description: ok}}
  /notes:
    get:
      operationId: listNotes
      security: []
      parameters: [{name: q, in: query, schema: {type: string, maxLength: 80}}]
      responses: {"200": {description: ok}}
  /blob:
    put: {operationId: putBlob, security: [], requestBody: {content: {application/octet-stream: {}}}, responses: {"200": {description: ok}}}
-- callers --
ann role=staff scope=things:read,things:admin
bob role=guest scope=things:read,things:admin
cec role=staff scope=things:read
-- requests --
`

var (
	printed = regexp.MustCompile(`(?m)^  to allow +(.*)\n(?:    at +(.*)\n)?`)
	folded  = regexp.MustCompile(`\n {13}`) // a line that goes on
)

// TestThePrintedExceptionAdmits: what explain prints, written at the place that it prints, admits the request that was denied,
// and not the ones beside it.
func TestThePrintedExceptionAdmits(t *testing.T) {
	rules := crs()
	for name, c := range map[string]struct{ guard, request, beside string }{
		"undeclared parameter": {"contract", "127.0.0.1 ann GET /things?page=2", "127.0.0.1 ann GET /things?debug=2"},
		"role":                 {"access", "127.0.0.1 bob GET /things", "127.0.0.1 - GET /things"},
		"scope":                {"access", "127.0.0.1 cec GET /things", "127.0.0.1 - GET /things"},
		"file that runs":       {"upload", "127.0.0.1 - PUT /blob | Content-Type: application/octet-stream <<< <?php echo 1;", "127.0.0.1 - PUT /blob | Content-Type: application/octet-stream <<< <script>x"},
		"waf rule":             {"waf", "127.0.0.1 - GET /notes?q=1%27%20or%20%271%27%3D%271", "127.0.0.1 - GET /notes?q=%3Cscript%3Ealert(1)%3C/script%3E"},
	} {
		t.Run(name, func(t *testing.T) {
			told := func(document string, request string) gate.Event {
				s := newStory(t, txtar.Parse([]byte(document+request+"\n")), rules)
				s.request(request)
				for _, e := range s.end() {
					if e.Kind == gate.KindExchange {
						return e
					}
				}
				t.Fatal("no event")
				return gate.Event{}
			}
			// several rules may have to be excepted, one after the other, as an operator would
			document := exceptions
			for step := range 4 {
				e := told(document, c.request)
				if e.Decision.Verdict == "allow" {
					if step == 0 {
						t.Fatal("nothing was denied")
					}
					break
				}
				if e.Decision.Guard != c.guard || step == 3 {
					t.Fatalf("step %d: %+v", step, e.Decision)
				}
				var out bytes.Buffer
				explain(&out, e)
				found := printed.FindStringSubmatch(folded.ReplaceAllString(out.String(), " "))
				if found == nil {
					t.Fatalf("no exception is printed:\n%s", out.String())
				}
				document = write(t, document, found[1], found[2])
			}
			if e := told(document, c.beside); e.Decision.Verdict == "allow" {
				t.Errorf("the exception admits %s as well", c.beside)
			}
		})
	}
}

// write puts a line where the place's comment is: over what stands before it, or, when only the comment stands there, below.
func write(t *testing.T, document, line, place string) string {
	t.Helper()
	lines := strings.Split(document, "\n")
	key, value, _ := strings.Cut(line, ": ")
	for i, l := range lines {
		before, mark, ok := strings.Cut(l, "#")
		if !ok || mark != place && !strings.HasSuffix(place, mark) {
			continue
		}
		indent := before[:len(before)-len(strings.TrimLeft(before, " "))]
		switch {
		case strings.TrimSpace(before) != "":
			lines[i] = indent + line + " #" + mark
		case i > 0 && strings.HasPrefix(strings.TrimSpace(lines[i-1]), key+": ["): // one more of a list
			lines[i-1] = strings.TrimSuffix(lines[i-1], "]") + ", " + strings.TrimPrefix(value, "[")
		default:
			lines[i] = indent + line + "\n" + l
		}
		return strings.Join(lines, "\n")
	}
	t.Fatalf("no such place: %q for %q", place, line)
	return ""
}
