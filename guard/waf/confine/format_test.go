package confine_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
)

// TestEveryFormatIsKnown: a format that kit/openapi judges stands in the table of grammars, and what its judge accepts keeps
// the grammar, whatever signs stand in it.
func TestEveryFormatIsKnown(t *testing.T) {
	signs := []string{"", " ", "\n", "'", "<", "A", "z", "Z", "0", "x", "-", "+", ".", ":", "/", "%", "T", "é", "_", "=", "[", "]", "@", "\x00", "~", "!", "\"", "}"}
	seeds := []string{"123e4567-e89b-12d3-a456-426614174000", "2026-02-28", "2026-02-28T01:02:03Z", "2026-02-28t23:59:60.123+00:00", "01:02:03Z", "01:02:03.5-05:30", "P1Y2M3DT4H5M6S", "P3W", "a.b+c@x.example",
		"10.0.0.1", "::1", "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8", "host.example", "http://a.example/b?c=d#e", "../x?y", "QUJD", "QUI=", "QQ==", "_-AB", "é", "", "127", "-128", "4294967295", "1.5e-3", "1E400", "0"}
	accepted := 0
	for _, format := range []string{"uuid", "date", "date-time", "time", "duration", "email", "ipv4", "ipv6", "uri", "uri-reference", "hostname", "byte", "base64url", "json-pointer", "char",
		"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float", "double", "binary", "password"} {
		if !confine.Knows(format) {
			t.Errorf("format %s has no grammar", format)
		}
		c := load(t, fmt.Sprintf(`{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{"/a":{"get":{"security":[],"responses":{"200":{"description":"x"}},
			"parameters":[{"name":"a","in":"query","schema":{"type":["string","number"],"format":%q}}]}}}}`, format))
		p := c.Operations[0].Parameters[0]
		for _, seed := range seeds {
			for at := range len(seed) + 1 {
				for _, sign := range signs {
					for _, text := range []string{seed[:at] + sign + seed[at:], seed[:at] + sign + seed[min(at+1, len(seed)):]} {
						if !p.Fits(text) {
							continue
						}
						accepted++
						if !confine.Holds(c.Operations[0], text) {
							t.Fatalf("format %s lets %q pass, which its grammar does not hold", format, text)
						}
					}
				}
			}
		}
	}
	t.Logf("%d texts", accepted)
	if accepted < 2_000 {
		t.Errorf("%d texts only", accepted)
	}
}
