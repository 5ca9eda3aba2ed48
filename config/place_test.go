package config_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func TestPlace(t *testing.T) {
	d, err := config.Parse("f.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		section, path string
		line, column  int
		whole         string
	}{
		{"listen", "handshake", 5, 14, "listen.handshake"},
		{"listen", "absent", 3, 1, "listen.absent"},
		{"listen", "tls.minimum", 14, 14, "listen.tls.minimum"},
		{"listen", "tls", 11, 3, "listen.tls"},
		{"listen", "trusted_proxies[1]", 10, 7, "listen.trusted_proxies[1]"},
		{"listen", "trusted_proxies[7]", 8, 3, "listen.trusted_proxies[7]"},
		{"guards.identity", "issuers[0].audience", 27, 19, "guards.identity.issuers[0].audience"},
		{"guards.identity", "issuers[0].algorithms[0].x", 26, 9, "guards.identity.issuers[0].algorithms[0].x"},
		{"guards.absent", "x", 15, 1, "guards.absent.x"},
		{"", "profile", 2, 10, "profile"},
		{"nothing", "", 2, 1, "nothing"},
		{"apis[0]", "hosts[1]", 31, 31, "apis[0].hosts[1]"},
		{"apis[0]", "hosts", 31, 12, "apis[0].hosts"},
		{"apis[0].operations", "POST /v1.0/orders.public", 39, 17, "apis[0].operations.POST /v1.0/orders.public"},
		{"apis[0]", `operations["POST /v1.0/orders"].public`, 39, 17, `apis[0].operations["POST /v1.0/orders"].public`},
		{"apis[9]", "x", 29, 1, "apis[9].x"},
	}
	for _, test := range tests {
		var found mistake.List
		found.Add(test.path, "", "wrong")
		m := one(t, d.Place(found.Err(), test.section))[0]
		if m.Line != test.line || m.Column != test.column || m.Path != test.whole || m.File != "f.yaml" || m.Excerpt != lineOf([]byte(sample), test.line) {
			t.Errorf("%s in %s: want %d:%d %s, got %+v", test.path, test.section, test.line, test.column, test.whole, m)
		}
	}
	if d.Place(nil, "listen") != nil || d.Place(mistake.List(nil).Err(), "listen") != nil || config.Merge(nil, nil) != nil {
		t.Error("no mistake became one")
	}
	m := one(t, d.Place(errors.New("key file is empty"), "listen.tls.key"))[0]
	if m.Line != 13 || m.What != "key file is empty" {
		t.Errorf("got %+v", m)
	}
}

func TestUnknown(t *testing.T) {
	d, _ := config.Parse("f.yaml", []byte("guards:\n  rat: {}\n  waf: {}\n  qqqqq: {}\nother: 1\n"))
	list := one(t, d.Unknown("guards", []string{"rate", "waf"}))
	if len(list) != 2 || list[0].Write != "rate" || list[0].Line != 2 || list[1].Write != "" || !strings.Contains(list[1].What, "rate, waf") {
		t.Errorf("got %v", list)
	}
	if d.Unknown("absent", nil) != nil {
		t.Error("an absent mapping has unknown keys")
	}
	if err := d.Unknown("other", nil); err == nil || !strings.Contains(err.Error(), "a mapping of keys is wanted") {
		t.Error(err)
	}
}

func TestHash(t *testing.T) {
	hash := func(doc string) [32]byte {
		d, err := config.Parse("f.yaml", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return d.Hash("x")
	}
	base := hash("x: {a: 1, b: [c, d]}\n")
	for _, same := range []string{"x:\n  b:\n  - c   # why\n  - \"d\"\n  a: 1\ny: other\n", "# c\nx: {b: ['c', d],\n  a: 1}\n"} {
		if hash(same) != base {
			t.Errorf("other hash of %q", same)
		}
	}
	seen := map[[32]byte]string{base: "base", {}: "absent"}
	for _, other := range []string{"x: {a: 1, b: [d, c]}", "x: {a: 2, b: [c, d]}", "x: {a: 1}", "x: {a: 1, b: [c, d], e: 1}", "x: {a: 1, b: [cd]}", "x: {a: 1, b: [c, [d]]}",
		"x: {a: '1b', b: [c, d]}", "x: []", "x: {}", "x: ''", "x: a1bcd"} {
		if before, taken := seen[hash(other)]; taken {
			t.Errorf("%q has the hash of %q", other, before)
		}
		seen[hash(other)] = other
	}
	if hash("y: 1") != [32]byte{} {
		t.Error("an absent section has a hash")
	}
}

func TestPrint(t *testing.T) {
	err := checkSample("gatehouse.yaml", []byte(strings.Replace(sample, "  handshake: 5s", "  handshak: 5s", 1)))
	var b strings.Builder
	if err := config.Print(&b, one(t, err), false); err != nil {
		t.Fatal(err)
	}
	want := "gatehouse.yaml:5:3: listen.handshak: unknown key \"handshak\"\n     5 |   handshak: 5s\n       |   ^\n       write: handshake\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	_ = config.Print(&b, mistake.List{{What: "x\x1b]0;y\x07\u202e", Write: "\x1b[2J", File: "\x9bf", Line: 1, Column: 9, Excerpt: "a\x1b"}, {What: "no place"}}, false)
	if strings.ContainsAny(b.String(), "\x1b\x07\u009b\u202e") || !strings.HasSuffix(b.String(), "\nno place\n") {
		t.Errorf("a terminal would obey %q", b.String())
	}
	b.Reset()
	_ = config.Print(&b, one(t, err), true)
	if !strings.Contains(b.String(), "\x1b[31m") {
		t.Error("no color")
	}
}

func TestJSON(t *testing.T) {
	text, err := config.JSON(mistake.List{{Path: "a", What: "b", Write: "c", File: "f", Line: 1, Column: 2, Excerpt: "e"}})
	var back []map[string]any
	if err != nil || json.Unmarshal(text, &back) != nil || len(back) != 1 || back[0]["line"] != 1.0 || back[0]["write"] != "c" || len(back[0]) != 7 {
		t.Errorf("%s %v", text, err)
	}
	if text, _ := config.JSON(nil); string(text) != "[]" {
		t.Errorf("no mistakes give %s", text)
	}
}

func TestSchemaAndReference(t *testing.T) {
	manual := config.Manual{"config_test.listenConfig.Handshake": "Handshake bounds a TLS handshake; default 5s.", "config_test.rateConfig.Burst": "Burst is a|b. Default: 200, else 300 (see README)."}
	schema, err := config.Schema(sampleParts, manual)
	if err != nil || !strings.Contains(string(schema), "bounds a TLS handshake") {
		t.Errorf("%v\n%s", err, schema)
	}
	again, _ := config.Schema(sampleParts, manual)
	if string(again) != string(schema) {
		t.Error("the schema changes from call to call")
	}
	page := config.Reference(sampleParts, manual)
	for _, row := range []string{
		"| `handshake` | a duration, such as `5s` | 5s | Handshake bounds a TLS handshake; default 5s. |",
		"| `burst` | a whole number | 200, else 300 | Burst is a\\|b. Default: 200, else 300 (see README). |",
		"| `tls.minimum` | one of 1.2, 1.3 |", "| `issuers[].url` | a URL, such as `https://host/path` | required |", "## apis[].guards.rate", "| `dry_run.until` | a date",
	} {
		if !strings.Contains(page, row) {
			t.Errorf("no row %s in\n%s", row, page)
		}
	}
	if _, err := config.Schema(append(sampleParts[:1:1], sampleParts[0]), nil); err == nil {
		t.Error("two parts of one name are accepted")
	}
}
