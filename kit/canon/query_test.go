package canon

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		in, sent string
		want     []Pair
	}{
		{"", "", nil},
		{"a=1&b=2&a=3", "a=1&b=2&a=3", []Pair{{"a", "1"}, {"b", "2"}, {"a", "3"}}},
		{"wsdl", "wsdl=", []Pair{{"wsdl", ""}}},
		{"&a=1&&", "a=1", []Pair{{"a", "1"}}},
		{"=", "=", []Pair{{"", ""}}},
		{"a==b", "a=%3Db", []Pair{{"a", "=b"}}},
		{"a=x+y%20z%2b", "a=x%20y%20z%2B", []Pair{{"a", "x y z+"}}},
		{"f%5Bx%5D={1|2}", "f%5Bx%5D=%7B1%7C2%7D", []Pair{{"f[x]", "{1|2}"}}},
		{"ids=1,2%2C3", "ids=1,2,3", []Pair{{"ids", "1,2,3"}}},
		{"a=%0D%0A%3B", "a=%0D%0A%3B", []Pair{{"a", "\r\n;"}}},
		{"a=%2561", "a=%2561", []Pair{{"a", "%61"}}},
	} {
		got, refusal := Query(c.in, 0)
		if refusal != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q %v, want %q", c.in, got, refusal, c.want)
		}
		if sent := EncodeQuery(got); sent != c.sent {
			t.Errorf("%q: sent as %q, want %q", c.in, sent, c.sent)
		}
	}
}

func TestQueryRefused(t *testing.T) {
	for _, c := range []struct{ row, in, reason string }{
		{"A25", "a=1;b=2&a=3", queryMalformed},
		{"A25", "a=%zz", queryMalformed},
		{"A25", "a=%", queryMalformed},
		{"", "a=1#x", queryMalformed},
		{"", "a=b c", queryMalformed},
		{"", "a=é", queryMalformed},
		{"", "a=\x01", queryMalformed},
		{"", "a=%ff", queryUTF8},
		{"", "%c0%ae=1", queryUTF8},
		{"", "a=%00", queryControl},
		{"", "a%0a=1", queryControl},
		{"A26", strings.Repeat("a=1&", 256) + "role=admin", queryTooMany},
	} {
		if got, refusal := Query(c.in, 256); refusal == nil || refusal.Reason != c.reason || refusal.Status != 400 {
			t.Errorf("%s %.30q: %.3q %v, want %s", c.row, c.in, got, refusal, c.reason)
		}
	}
	if _, refusal := Query(strings.Repeat("a=1&", 255)+"a=1", 256); refusal != nil {
		t.Errorf("256 parameters: %v", refusal)
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "a=1&b=2", "a", "=&=", "a=%2B+%20", "a;b", "%zz", "x[]=%c3%a9", "a=%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		pairs, refusal := Query(in, 64)
		if refusal != nil {
			return
		}
		sent := EncodeQuery(pairs)
		again, refusal := Query(sent, 64)
		if refusal != nil || !slices.Equal(again, pairs) || EncodeQuery(again) != sent {
			t.Fatalf("%q: sent %q, read back %q %v", in, sent, again, refusal)
		}
		for _, raw := range []string{in, sent} {
			theirs, err := url.ParseQuery(raw)
			if err != nil {
				t.Fatalf("%q: net/url refuses %q: %v", in, raw, err)
			}
			ours := url.Values{}
			for _, p := range pairs {
				ours.Add(p.Name, p.Value)
			}
			if ours.Encode() != theirs.Encode() {
				t.Fatalf("%q: we read %v, net/url %v", in, ours, theirs)
			}
		}
	})
}
