package adversary

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// good is a document without mistakes; the cases change it.
const good = `
listen:
  at: ["https://127.0.0.1:0"]
  admin: "http://127.0.0.1:0"
  certificates: [{cert: DIR/tls.crt, key: "file:DIR/tls.key"}]
guards:
  identity:
    issuers:
      - {issuer: "https://idp.test", audience: shop, keys: DIR/keys.json}
apis:
  - name: shop
    hosts: [api.test]
    contract: shop.yaml
    to: ["http://127.0.0.1:9"]
`

// refusedDocument is a change of the good document that must be refused.
type refusedDocument struct {
	row, name string
	old, new  string // in the document
	files     map[string]string
	says      string // what check says, somewhere
}

func refusedDocuments() []refusedDocument {
	contract := func(old, new string) map[string]string {
		return map[string]string{"shop.yaml": strings.Replace(shopContract, old, new, 1)}
	}
	return []refusedDocument{
		{row: "A12", name: "unanchored words are no hosts", old: "api.test", new: ".*api.test", says: "is not a host name"},
		{row: "A28", name: "backtick in name", old: "name: shop", new: "name: \"sh`op\"", says: "letters, digits and dashes"},
		{row: "A28", name: "backtick in host", old: "[api.test]", new: "[\"api.test`) || Path(`/\"]", says: "is not a host name"},
		{row: "E3", name: "empty key set", files: map[string]string{"keys.json": `{"keys":[]}`}, says: "key"},
		{row: "E3", name: "shared key", files: map[string]string{"keys.json": `{"keys":[{"kty":"oct","kid":"k1","alg":"HS256","k":""}]}`}, says: "key"},
		{row: "E7", name: "no audience", old: "audience: shop, ", new: "", says: "audience"},
		{row: "E7", name: "empty audience", old: "audience: shop", new: `audience: ""`, says: "audience"},
		{row: "E7", name: "empty list", old: "audience: shop", new: "audience: []", says: "audience"},
		{row: "E6", name: "keys over http", old: "DIR/keys.json", new: `"http://idp.test/keys"`, says: "https"},
		{row: "G22", name: "security without anybody to verify", old: "    issuers:\n      - {issuer: \"https://idp.test\", audience: shop, keys: DIR/keys.json}\n", new: "    pass_credential: false\n", says: "nobody can vouch"},
		{row: "G23", name: "null", files: map[string]string{"shop.yaml": "openapi: 3.0.3\ninfo: null\npaths: {/a: null}\n"}, says: "shop.yaml"},
		{row: "G23", name: "list", files: map[string]string{"shop.yaml": "- a\n- b\n"}, says: "shop.yaml"},
		{row: "G23", name: "loop", files: contract("$ref: \"#/components/schemas/Item\"", "$ref: \"#/components/schemas/Loop\"}, x-a: {a: b"), says: "Loop"},
		{row: "G23", name: "remote reference", files: contract("#/components/schemas/Item", "http://169.254.169.254/latest"), says: "169.254.169.254"},
		{row: "G18", name: "rules that end the process", old: "guards:\n", new: "guards:\n  waf: {rules: {after: [own.conf]}}\n", files: map[string]string{"own.conf": "SecRuleRemoveByMsg \"x\"\n"}, says: "own.conf:1: SecRuleRemoveByMsg: the engine ends the whole process"},
		{row: "G19", name: "repetitions of repetitions", old: "guards:\n", new: "guards:\n  waf: {rules: {after: [own.conf]}}\n", files: map[string]string{"own.conf": "SecRule ARGS \"@rx ((a{0,100}){0,100}){0,10}\" \"id:10001,phase:2,deny\"\n"}, says: "own.conf:1: the engine can't compile this: error parsing regexp: invalid repeat count"},
		{row: "I3", name: "admin among the addresses of clients", old: "admin: \"http://127.0.0.1:0\"", new: "admin: \"http://0.0.0.0:9090\"", says: "admin"},
		{row: "I5", name: "certificate missing", old: "DIR/tls.crt", new: "DIR/none.crt", says: "none.crt"},
		{row: "I5", name: "certificate empty", files: map[string]string{"tls.crt": ""}, says: "tls.crt"},
		{row: "I5", name: "certificate garbled", files: map[string]string{"tls.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, says: "tls.crt"},
		{row: "I5", name: "key of another", files: map[string]string{"tls.key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, says: "tls.key"},
		{row: "I5", name: "authority of a server missing", old: `to: ["http://127.0.0.1:9"]`, new: "to: [\"https://127.0.0.1:9\"]\n    upstream: {tls: {ca: DIR/none.pem}}", says: "none.pem"},
		{row: "I5", name: "authority of a server empty", old: `to: ["http://127.0.0.1:9"]`, new: "to: [\"https://127.0.0.1:9\"]\n    upstream: {tls: {ca: DIR/empty.pem}}", files: map[string]string{"empty.pem": ""}, says: "empty.pem"},
		{row: "I5", name: "authority of a server is a word", old: `to: ["http://127.0.0.1:9"]`, new: "to: [\"https://127.0.0.1:9\"]\n    upstream: {tls: {ca: DIR/word.pem}}", files: map[string]string{"word.pem": "hello"}, says: "word.pem"},
		{row: "I6", name: "secret missing", old: "file:DIR/tls.key", new: "file:DIR/none.key", says: "none.key"},
		{row: "I6", name: "secret not set", old: "file:DIR/tls.key", new: "env:NO_SUCH_VARIABLE", says: "NO_SUCH_VARIABLE"},
		{row: "I6", name: "secret empty", files: map[string]string{"tls.key": ""}, says: "tls.key"},
		{row: "I6", name: "keys missing", old: "DIR/keys.json", new: "DIR/none.json", says: "none.json"},
		{row: "I13", name: "same name", old: "apis:", new: "apis:\n  - {name: shop, hosts: [other.test], contract: shop.yaml, to: [\"http://127.0.0.1:9\"]}", says: "two APIs are named"},
		{row: "I13", name: "same host and base", old: "apis:", new: "apis:\n  - {name: other, hosts: [API.test.], contract: shop.yaml, to: [\"http://127.0.0.1:9\"]}", says: "already reached"},
		{row: "I13", name: "equal templates", files: contract("/public/{name}/{part}:", "/public/{other}:\n    get: {operationId: twice, security: [], parameters: [{name: other, in: path, required: true, schema: {type: string}}], responses: {\"200\": {description: ok}}}\n  /public/{name}/{part}:"), says: "/public/{"},
		{row: "K2", name: "secret in the document", old: "file:DIR/tls.key", new: canary, says: "tls.key"},
	}
}

// arrange writes a document and its files.
func arrange(t *testing.T, document string, files map[string]string) (dir string) {
	t.Helper()
	dir = shortDir(t)
	if _, err := writeCertificate(dir); err != nil {
		t.Fatal(err)
	}
	all := sharedFiles()
	for name, text := range files {
		all[name] = text
	}
	all["gatehouse.yaml"] = strings.ReplaceAll(document, "DIR", dir)
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The document that the cases change is good; each change is refused by check and by serve, with words that lead there.
func TestDocumentsThatAreRefused(t *testing.T) {
	t.Parallel()
	g := &gateway{dir: arrange(t, good, nil)}
	if out, code := g.command("check"); code != 0 {
		t.Fatalf("the good document: exit %d\n%s", code, out)
	}
	for _, c := range refusedDocuments() {
		t.Run(c.row+"/"+c.name, func(t *testing.T) {
			document := good
			if c.old != "" {
				if !strings.Contains(good, c.old) {
					t.Fatalf("%q is not in the document", c.old)
				}
				document = strings.Replace(good, c.old, c.new, 1)
			}
			g := &gateway{dir: arrange(t, document, c.files)}
			out, code := g.command("check")
			if code != 1 || !strings.Contains(out, c.says) || strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
				t.Errorf("check: exit %d, want 1 and %q\n%s", code, c.says, out)
			}
			if strings.Contains(out, canary) {
				t.Errorf("check prints the secret:\n%s", out)
			}
			out, code = g.command("serve")
			if code != 1 || strings.Contains(out, "msg=serving") {
				t.Errorf("serve: exit %d\n%s", code, out)
			}
		})
	}
}

// A key of a feature that does not exist yet is refused as unknown: nobody can believe that it is on.
func TestWhatDoesNotExistIsRefused(t *testing.T) {
	t.Parallel()
	for row, n := range notYet() {
		if n.section == "" {
			continue
		}
		t.Run(row, func(t *testing.T) {
			document := good
			switch n.section {
			case "listen", "guards":
				document = strings.Replace(good, n.section+":\n", n.section+":\n  "+n.key+"\n", 1)
			case "apis":
				document += "    " + n.key + "\n"
			default:
				document += n.section + ": {" + n.key + "}\n"
			}
			out, code := (&gateway{dir: arrange(t, document, nil)}).command("check")
			word, _, _ := strings.Cut(n.key, ":")
			if code != 1 || !strings.Contains(out, word) {
				t.Errorf("exit %d, want 1 and %s\n%s", code, word, out)
			}
			t.Log(strings.SplitN(out, "\n", 2)[0])
		})
	}
}
