package adversary

import (
	"encoding/json"
	"hash/crc32"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// apiKey has the program make a key.
func apiKey(t *testing.T, args ...string) (id, key string) {
	t.Helper()
	out, code := shared.command(append([]string{"apikey", "create", "--json", "--owner", "mallory", "--scope", "x", "--role", "customer", "--expires", "1h"}, args...)...)
	var made struct {
		Key  string
		Made struct{ ID string }
	}
	end := strings.LastIndex(out, "}")
	if begin := strings.Index(out, "{"); code != 0 || begin < 0 || json.Unmarshal([]byte(out[begin:end+1]), &made) != nil || made.Key == "" {
		t.Fatalf("gatehouse apikey create: exit %d\n%s", code, out)
	}
	return made.Made.ID, made.Key
}

// guessed is a key of a known id with another secret, with a checksum that is right: what somebody sends who has read the
// source.
func guessed(id string, secret byte) string {
	body := []byte(strings.Repeat(string(secret), 32))
	sum := crc32.ChecksumIEEE(append([]byte("ghk_"+id+"_"), body...))
	return "ghk_" + id + "_" + b64(append(body, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)))
}

// Rows E23, E25, E32 and E35 for API keys: whatever isn't the whole key, in its field, at its API, opens nothing, and the client
// learns nothing of why; what holds reaches the server without the key; and no key is anywhere but where it was printed.
func TestAPIKeys(t *testing.T) {
	id, key := apiKey(t, "--api", "keyed")
	_, others := apiKey(t, "--api", "behind")
	gone, revoked := apiKey(t, "--api", "keyed")
	if out, code := shared.command("apikey", "revoke", gone); code != 0 {
		t.Fatal(out)
	}
	token := idp.sign(idp.header(nil), idp.claims(nil))
	var rows []attack
	add := func(row, name, target string, reason gate.Reason, fields ...field) {
		rows = append(rows, attack{row: row, name: name, host: "keyed.test", target: target, fields: fields, want: refused("identity", 401, gate.NoIdentity, reason)})
	}
	for _, target := range []string{"/any", "/public/x"} {
		in := strings.ReplaceAll(target, "/", " at ")
		for name, c := range map[string]struct {
			value  string
			reason gate.Reason
		}{
			"half": {key[:31], "identity.api_key_malformed"}, "all but one letter": {key[:60], "identity.api_key_malformed"}, "one letter more": {key + "A", "identity.api_key_malformed"},
			"prefix and id": {key[:13], "identity.api_key_malformed"}, "another letter": {key[:59] + string(key[59]^1) + key[60:], "identity.api_key_malformed"},
			"small letters": {strings.ToLower(key), "identity.api_key_malformed"}, "encoded": {url.QueryEscape(key[:3]) + "%5F" + key[4:], "identity.api_key_malformed"},
			"a list": {key + "," + key, "identity.api_key_malformed"}, "a scheme": {"ApiKey " + key, "identity.api_key_malformed"}, "quoted": {`"` + key + `"`, "identity.api_key_malformed"},
			"another API's": {others, "identity.api_key_elsewhere"}, "revoked": {revoked, "identity.api_key_revoked"},
		} {
			add("E25", name+in, target, c.reason, field{"X-API-Key", c.value})
		}
		add("E32", "any word"+in, target, "identity.api_key_malformed", field{"X-API-Key", "anything"})
		add("E32", "beside a token"+in, target, "identity.several", field{"Authorization", "Bearer " + token}, field{"X-API-Key", key})
		add("E32", "beside a wrong token"+in, target, "identity.malformed", field{"Authorization", "Bearer x"}, field{"X-API-Key", key})
		add("E32", "beside another scheme"+in, target, "identity.scheme", field{"Authorization", "Basic eDp5"}, field{"X-API-Key", key})
		add("E32", "as a token"+in, target, "identity.malformed", field{"Authorization", "Bearer " + key})
		add("E35", "nobody's id"+in, target, "identity.api_key_unknown", field{"X-API-Key", guessed("aaaaaaaa", 'x')})
		add("E35", "another secret"+in, target, "identity.api_key_unknown", field{"X-API-Key", guessed(id, 'x')})
	}
	add("E25", "in the query", "/search?q="+key, "identity.api_key_in_url")
	add("E25", "in the query, encoded", "/search?q="+strings.ReplaceAll(key, "_", "%5F"), "identity.api_key_in_url")
	add("E25", "as a name", "/search?"+key, "identity.api_key_in_url")
	add("E25", "in a name", "/search?q=1&x"+key+"=1", "identity.api_key_in_url")
	add("E25", "in the path", "/public/"+key, "identity.api_key_in_url")
	add("E25", "in the path, beside its field", "/public/"+key, "identity.api_key_in_url", field{"X-API-Key", key})
	rows = append(rows,
		attack{row: "E25", name: "good", host: "keyed.test", target: "/any", fields: []field{{"X-API-Key", key}},
			want: want{status: 200, sent: "GET /any HTTP/1.1", host: "keyed.test", adds: []string{"Gatehouse-Subject: mallory", "Gatehouse-Issuer: gatehouse:apikey", "Gatehouse-Roles: customer", "Gatehouse-Scopes: x"}}},
		// E23: the same key again, where other rules hold
		attack{row: "E23", name: "another operation", host: "keyed.test", target: "/admin/x", fields: []field{{"X-API-Key", key}}, want: refused("access", 403, gate.NotAllowed, "access.role")},
		attack{row: "E23", name: "an API that takes none", target: "/any", fields: []field{{"X-API-Key", key}}, want: refused("identity", 401, gate.NoIdentity, "identity.missing")},
	)
	bring(t, shared, rows)

	answer := func(key string) string {
		r := shared.sendRaw(t, source(), "GET /any HTTP/1.1\r\nHost: keyed.test\r\nX-API-Key: "+key+"\r\n\r\n", true, false)
		return strings.ReplaceAll(strings.ReplaceAll(r.body, r.problem.Event, "EVENT"), " ", "") + r.fields.Get("WWW-Authenticate")
	}
	if one, two, three := answer(guessed("aaaaaaaa", 'x')), answer(guessed(id, 'x')), answer(revoked); one != two || two != three || one == "" {
		t.Errorf("answers differ:\n%s\n%s\n%s", one, two, three)
	}
	said := shared.log.String() + shared.metrics(t)
	err := filepath.WalkDir(shared.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		said += string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{key, others, revoked} {
		if strings.Contains(said, k[13:45]) {
			t.Error("a key lies in a log, in a metric, or on the disk")
		}
	}
}
