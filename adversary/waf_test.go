package adversary

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// wafDocument serves the shop with rules of an operator: one bound to a path, and one whose expression takes other engines
// for ever.
const wafDocument = `
listen:
  at: ["https://127.0.0.1:0", "http://127.0.0.1:0"]
  admin: "http://ADMIN"
  certificates: [{cert: DIR/tls.crt, key: "file:DIR/tls.key"}]
guards:
  identity: {development: {accept_risk: "tests on loopback"}}
  waf: {budget: 10s, rules: {after: [own.conf]}}
apis:
  - name: shop
    hosts: [api.test]
    contract: shop.yaml
    to: [UPSTREAM]
    upstream: {health: {eject_after: 1000}, breaker: {min_requests: 100000}}
`

const wafContract = `
openapi: 3.0.3
info: {title: shop, version: "1"}
paths:
  /{part}/x:
    get:
      operationId: part
      security: []
      parameters: [{name: part, in: path, required: true, schema: {type: string}}, {name: q, in: query, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /notes:
    post:
      operationId: note
      security: []
      requestBody:
        content:
          application/json: {schema: {type: object, properties: {note: {}}}}
          application/x-www-form-urlencoded: {schema: {type: object, properties: {note: {type: string}}}}
      responses: {"200": {description: ok}}
`

const ownRules = `SecRule REQUEST_FILENAME "@beginsWith /secret/" "id:10001,phase:1,deny,msg:'not from outside'"
SecRule ARGS:q "@rx ^(?:a+)+$" "id:10002,phase:2,pass,msg:'only a'"
SecRule ARGS:q "@rx (?:(?:x+x+)+y|(?:.*a){12})$" "id:10003,phase:2,pass,msg:'slow elsewhere'"
`

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Rows G of the rules: what they see is what the server would get, and what it might make of it.
func wafRows() []attack {
	ruled, nested := refused("waf", 403, gate.Attack, "waf.rule"), refused("waf", 403, gate.Attack, "waf.nested")
	var rows []attack
	get := func(row, name, target string, w want) {
		rows = append(rows, attack{row: row, name: name, target: target, want: w})
	}
	post := func(row, name, media, body string, w want) {
		rows = append(rows, attack{row: row, name: name, method: "POST", target: "/notes", fields: []field{{"Content-Type", media}}, body: body, want: w})
	}
	json := func(row, name, note string, w want) {
		post(row, name, "application/json", fmt.Sprintf(`{"note":%s}`, note), w)
	}
	form := func(row, name, note string, w want) {
		post(row, name, "application/x-www-form-urlencoded", "note="+url.QueryEscape(note), w)
	}
	get("G1", "as it is", "/secret/x", ruled)
	get("G1", "another", "/public/x", passes("GET /public/x HTTP/1.1"))
	get("G1", "two slashes", "//secret/x", canon400("path.empty_segment"))
	get("G1", "a name before it", "//api.test/secret/x", canon400("path.empty_segment"))
	get("G1", "coded", "/%73ecre%74/x", ruled)
	get("G1", "from elsewhere", "/public/../secret/x", canon400("path.dot_segment"))

	const harmless = `{"note":"１２３ ｔｅａ, 緑茶、ｶﾀｶﾅ, ﬁn"}`
	const script, sql = "<script>alert(document.cookie)</script>", "x' UNION SELECT password FROM users--"
	json("G16", "full-width", `"`+strings.NewReplacer("<", "\uff1c", ">", "\uff1e").Replace(script)+`"`, ruled)
	json("G16", "mathematical letters", `"`+mathematical("javascript:alert(1)")+`"`, nested)
	json("G16", "signs without width", `"\/e`+"\u200d"+`tc/pas`+"\u2060"+`swd"`, nested)
	json("G16", "harmless in other scripts", strings.TrimSuffix(strings.TrimPrefix(harmless, `{"note":`), "}"), want{status: 200, sent: "POST /notes HTTP/1.1", adds: []string{"Content-Type: application/json", fmt.Sprint("Content-Length: ", len(harmless))}, body: harmless})
	json("G16", "Base64 in JSON", `"`+inBase64(script)+`"`, nested)
	json("G16", "Base64 twice", `"`+inBase64(inBase64(sql))+`"`, nested)
	json("G16", "a data URL", `"data:text/html;base64,`+inBase64(script)+`"`, ruled)
	form("G16", "JSON in a form", `{"to":"http:\/\/169.254.169.254\/latest"}`, nested)
	form("G16", "Base64 in JSON in a form", `{"a":["`+inBase64(script)+`"]}`, nested)
	get("G16", "Base64 in a query", "/public/x?q="+url.QueryEscape(inBase64(sql)), nested)
	get("G16", "harmless in Base64", "/public/x?q="+url.QueryEscape(inBase64("green tea, please")), passes("GET /public/x?q="+url.QueryEscape(inBase64("green tea, please"))+" HTTP/1.1"))
	rows = append(rows, attack{row: "G16", name: "Base64 in a cookie", fields: []field{{"Cookie", "s=" + strings.TrimRight(inBase64(script), "=")}}, want: nested})
	return rows
}

// mathematical writes a word in letters that are not ASCII and mean the same.
func mathematical(word string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return 0x1d41a + r - 'a'
		}
		return r
	}, word)
}

func startWAF(t *testing.T) *gateway {
	t.Helper()
	g, err := startGateway(filepath.Join(shortDir(t), "waf"), wafDocument, map[string]string{"shop.yaml": wafContract, "own.conf": ownRules})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	return g
}

func TestRulesSeeWhatTheServerGets(t *testing.T) {
	t.Parallel()
	g := startWAF(t)
	bring(t, g, wafRows())
}

// G18: whatever a request says, the process goes on; and what is denied is denied by a rule or a reader, never by a fault.
func TestNoRequestEndsTheProcess(t *testing.T) {
	t.Parallel()
	g := startWAF(t)
	deep := strings.Repeat("[", 30) + "1" + strings.Repeat("]", 30)
	for i, body := range []string{
		"", "{", "null", `{"note":` + deep + `}`, `{"note":"` + strings.Repeat(`\"`, 1000) + `"}`, `{"note":"%{TX.0}%{RULE.id}%{ENV.PATH}"}`, `{"note":"%{MATCHED_VAR}"}`,
		`{"note":"` + inBase64(deep) + `"}`, `{"note":"[[[[[["}`, `{"note":"{\"a\":{\"a\":{\"a\":"}`, `{"note":"data:;base64,"}`, `{"note":{"":{"":{}}}}`, `{"note":"` + strings.Repeat("=", 9) + `"}`,
		`{"note":{"json.note":[],"note.base64":""}}`, `{"note":"\u0001\u001f\u007f"}`,
	} {
		r := g.sendRaw(t, source(), attack{method: "POST", target: "/notes", fields: []field{{"Content-Type", "application/json"}}, body: body}.bytes1(), true, false)
		if r.status == 0 || r.status >= 500 {
			t.Errorf("%d: %.80q: status %d", i, body, r.status)
		}
	}
	if r := g.sendRaw(t, source(), attack{}.bytes1(), true, false); r.status != 200 {
		t.Errorf("afterwards: status %d", r.status)
	}
}

// G19: expressions that take other engines for ever take no time here.
func TestEvilExpressions(t *testing.T) {
	t.Parallel()
	g := startWAF(t)
	for _, q := range []string{strings.Repeat("a", 6000) + "!", strings.Repeat("x", 6000), strings.Repeat("a ", 3000)} {
		began := time.Now()
		r := g.sendRaw(t, source(), attack{target: "/public/x?q=" + url.QueryEscape(q)}.bytes1(), true, false)
		if took := time.Since(began); took > 5*time.Second || r.status >= 500 || r.status == 0 {
			t.Errorf("%.10q: status %d after %s", q, r.status, took)
		}
	}
}

// G20: a condition of a million steps is not gone through for anybody: it costs what the document admits, and denies.
func TestConditionsAreBounded(t *testing.T) {
	t.Parallel()
	bomb := strings.Repeat("[1,2,3,4,5,6,7,8,9,10].all(x, ", 6) + "value != \"\"" + strings.Repeat(")", 6)
	document := strings.Replace(wafDocument, "guards:\n", "guards:\n  patch: {list: [{id: bomb, operation: part, at: query.q, when: '"+bomb+"', until: 2099-01-01, author: ann, reason: a test}]}\n", 1)
	g, err := startGateway(filepath.Join(shortDir(t), "bomb"), document, map[string]string{"shop.yaml": wafContract, "own.conf": ownRules})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	began := time.Now()
	r := g.sendRaw(t, source(), attack{target: "/public/x?q=a"}.bytes1(), true, false)
	if took := time.Since(began); took > 2*time.Second || r.status != 403 {
		t.Errorf("status %d after %s", r.status, took)
	}
}
