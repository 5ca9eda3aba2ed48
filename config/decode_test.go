package config_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/secret"
)

type every struct {
	Bool     bool              `yaml:"bool"`
	Int      int8              `yaml:"int"`
	Port     uint16            `yaml:"port,min=1"`
	Share    float64           `yaml:"share,min=0,max=1"`
	Text     string            `yaml:"text"`
	Name     string            `yaml:"name,nonempty"`
	Word     balance           `yaml:"word"`
	Duration time.Duration     `yaml:"duration"`
	Date     time.Time         `yaml:"date"`
	URL      url.URL           `yaml:"url"`
	Size     unit.Size         `yaml:"size"`
	Prefix   netip.Prefix      `yaml:"prefix"`
	Address  netip.Addr        `yaml:"address"`
	Secret   secret.Ref        `yaml:"secret"`
	List     []string          `yaml:"list"`
	Numbers  []int             `yaml:"numbers"`
	Map      map[string]string `yaml:"map"`
	Nested   *nested           `yaml:"nested"`
	Client   string            `yaml:"client,public"`
	hidden   string
}

type nested struct {
	Inner []struct {
		Needed string `yaml:"needed,required"`
		Other  int    `yaml:"other"`
	} `yaml:"inner"`
}

// TestDecodeRefuses: one wrong value each, with the column of the mistake, words of it and what to write.
func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		doc         string
		column      int
		what, write string
	}{
		{"bool: yes", 7, "wanted true or false", "true"},
		{"bool: Off", 7, "wanted true or false", "false"},
		{"bool: TRUE", 7, "wanted true or false", "true"},
		{"bool: \"true\"", 7, "wanted true or false", "true"},
		{"bool: {a: 1}", 7, "found a mapping of keys, wanted true or false", "true"},
		{"int: 128", 6, "from -128 to 127", ""},
		{"int: 99999999999999999999", 6, "out of bounds", ""},
		{"int: 0x10", 6, "whole number", "16"},
		{"int: 010", 6, "whole number", "8"},
		{"int: 1_0", 6, "whole number", "10"},
		{"int: 1.0", 6, "whole number", "1"},
		{"int: '1'", 6, "whole number", "1"},
		{"int: +1", 6, "whole number", "1"},
		{"int: many", 6, "whole number, found text \"many\"", "1"},
		{"port: 0", 7, "from 1 to 65535", ""},
		{"port: 65536", 7, "from 1 to 65535", ""},
		{"share: 1.5", 8, "from 0 to 1", ""},
		{"share: .nan", 8, "a number such as", "0.5"},
		{"text: 5", 7, "wanted text, found a number", `"5"`},
		{"text: true", 7, "wanted text, found true", `"true"`},
		{"text: 1e3", 7, "wanted text", `"1e3"`},
		{"text: 0o17", 7, "wanted text", `"0o17"`},
		{"text: [a]", 7, "found a list, wanted text", ""},
		{"text: ${HOME}", 7, "nothing is expanded", ""},
		{"text: a $(id) b", 7, "nothing is expanded", ""},
		{"text: '{env.X}'", 7, "nothing is expanded", ""},
		{"text: '{{ x }}'", 7, "nothing is expanded", ""},
		{"text: $HOME", 7, "nothing is expanded", ""},
		{"text: env:HOME", 7, "nothing is expanded", ""},
		{"name: ''", 7, "empty text", ""},
		{"word: round-robin", 7, "none of two_choices", "round_robin"},
		{"word: hahs", 7, "none of", "hash"},
		{"word: HASH", 7, "none of", "hash"},
		{"duration: 5", 11, "no duration", "5s"},
		{"duration: 5 min", 11, "no duration", "5m"},
		{"duration: 90 seconds", 11, "no duration", "90s"},
		{"duration: 2d", 11, "no duration", "48h"},
		{"duration: -5s", 11, "no duration", "5s"},
		{"duration: 0", 11, "no duration", "0s"},
		{"duration: soon", 11, "no duration", "5s"},
		{"date: 31.12.2026", 7, "no date", "2026-12-31"},
		{"date: 2026-02-30", 7, "no date", "2026-12-31"},
		{"url: example.com", 6, "no whole URL", "https://host/path"},
		{"url: //example.com/a", 6, "no whole URL", "https://host/path"},
		{"url: mailto:a@b", 6, "no whole URL", "https://host/path"},
		{"url: https://u@example.com", 6, "a URL with a user", ""},
		{"size: 16kB", 7, "no", ""},
		{"size: 1.5MiB", 7, "not a size", "16KiB"},
		{"size: -1", 7, "not a size", "16KiB"},
		{"prefix: 10.0.0.0", 9, "", "192.0.2.0/24"},
		{"prefix: 10.0.0.0/33", 9, "", "192.0.2.0/24"},
		{"address: localhost", 10, "", "192.0.2.1"},
		{"secret: hunter2", 9, "reference", ""},
		{"list: a", 7, "wanted a list", "[a]"},
		{"list: [1]", 8, "wanted text", `"1"`},
		{"numbers: [1, x]", 14, "whole number", "1"},
		{"map: {a: 1}", 10, "wanted text", `"1"`},
		{"map: [a]", 6, "found a list, wanted a mapping", ""},
		{"nested: 5", 9, "wanted a mapping", ""},
		{"nested: {inner: [{other: 1}]}", 18, "key needed is missing", "needed:"},
		{"nested: {inner: [{needed: ''}]}", 27, "empty text", ""},
		{"nested: {iner: []}", 10, "unknown key", "inner"},
		{"Bool: true", 1, "unknown key", "bool"},
		{"hidden: x", 1, "unknown key", ""},
		{"'-': x", 1, "unknown key", ""},
		{"text: AKIA3XH7QLPZ5RTN2WVB", 7, "looks like a secret", "file:/run/secrets/NAME"},
		{"client: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2ln", 9, "looks like a secret", "file:/run/secrets/NAME"},
		{"map: {a: q7Zk3vX9bT2mN8cR4wL6yH1sD5fG0jPaUeIoQz}", 10, "looks like a secret", "file:/run/secrets/NAME"},
	}
	for _, test := range tests {
		t.Run(test.doc, func(t *testing.T) {
			d, err := config.Parse("f.yaml", []byte(test.doc+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = config.Section[every](d, "")
			if err == nil {
				t.Fatal("accepted")
			}
			m := one(t, err)[0]
			if m.Line != 1 || m.Column != test.column || !strings.Contains(m.What, test.what) || test.write != "" && m.Write != test.write {
				t.Errorf("want column %d, %q, write %q; got %+v", test.column, test.what, test.write, m)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	doc := `bool: false
int: -128
port: 65535
share: 1
text: "5"
word: hash
duration: 1h30m
date: 2026-12-31T18:00:00Z
url: http://[::1]:9000/a
size: 16384
prefix: 2001:db8::/32
address: ::1
secret: env:SHOP_KEY
list: []
numbers: [1, -2]
map: {"GET /a.b": x, c d: |-
    text
    of lines
  }
nested: {inner: []}
client: q7Zk3vX9bT2mN8cR4wL6yH1sD5fG0jPaUeIoQz
`
	doc = strings.Replace(doc, `map: {"GET /a.b": x, c d: |-
    text
    of lines
  }`, "map:\n  \"GET /a.b\": x\n  c d: |-\n    text\n    of lines", 1)
	d, err := config.Parse("f.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	v, ok, err := config.Section[every](d, "")
	if err != nil || !ok {
		t.Fatal(err)
	}
	if v.Int != -128 || v.Port != 65535 || v.Share != 1 || v.Text != "5" || v.Duration != 90*time.Minute || v.Date.Hour() != 18 || v.Size != 16<<10 ||
		v.URL.Port() != "9000" || v.Prefix.Bits() != 32 || !v.Address.IsLoopback() || v.Secret.String() != "env:SHOP_KEY" || v.List == nil ||
		len(v.List) != 0 || v.Numbers[1] != -2 || v.Map["c d"] != "text\nof lines" || v.Map["GET /a.b"] != "x" || v.Nested == nil || v.hidden != "" {
		t.Errorf("decoded as %+v", v)
	}
}

// TestAllAtOnce: every mistake of a document is told in one pass, in its order.
func TestAllAtOnce(t *testing.T) {
	doc := "bool: yes\nint: x\nint: 3\nduration: 5\nunheard: 1\ntext:\nlist: [1, 2]\nnested:\n  inner:\n    - other: 1\n    - needed: a\n      othr: 2\n"
	d, err := config.Parse("f.yaml", []byte(doc))
	_, _, more := config.Section[every](d, "")
	list := one(t, config.Merge(err, more))
	var got []string
	for _, m := range list {
		got = append(got, strings.TrimPrefix(m.Error()[:strings.Index(m.Error(), ": ")], "f.yaml:"))
	}
	if want := "1:7 2:6 3:1 4:11 5:1 6:1 7:8 7:11 10:7 12:7"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s\n%v", strings.Join(got, " "), want, list)
	}
}
