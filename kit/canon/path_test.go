package canon

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPathCanonical(t *testing.T) {
	for _, c := range []struct{ row, in, want, segments string }{
		{"", "/", "/", ""},
		{"", "/orders/7", "/orders/7", "orders|7"},
		{"", "/orders/", "/orders/", "orders|"},
		{"A5", "/%61dmin/x", "/admin/x", "admin|x"},
		{"A5", "/%4a%4A", "/JJ", "JJ"},
		{"A6", "/%2561dmin/x", "/%2561dmin/x", "%61dmin|x"},
		{"A6", "/%252e%252e/x", "/%252e%252e/x", "%2e%2e|x"},
		{"A10", "/%c3%a9", "/%C3%A9", "é"},
		{"", "/a%20b", "/a%20b", "a b"},
		{"", "/a%40b@c", "/a@b@c", "a@b@c"},
		{"", "/a%3fb%23", "/a%3Fb%23", "a?b#"},
		{"", "/x[1]{2}|^", "/x%5B1%5D%7B2%7D%7C%5E", "x[1]{2}|^"},
		{"", "/.../..a/a..", "/.../..a/a..", "...|..a|a.."},
		{"", "/list/1,2%2C3", "/list/1,2,3", "list|1,2,3"},
	} {
		got, segments, refusal := Path(c.in)
		if refusal != nil {
			t.Errorf("%s %q: %v", c.row, c.in, refusal)
			continue
		}
		if got != c.want || strings.Join(segments, "|") != c.segments {
			t.Errorf("%s %q: %q %q, want %q %q", c.row, c.in, got, segments, c.want, c.segments)
		}
	}
}

func TestPathRefused(t *testing.T) {
	for _, c := range []struct{ row, in, reason string }{
		{"A1", "/a%2f..%2fadmin/x", pathEncodedSlash},
		{"A1", "/a%2f", pathEncodedSlash},
		{"A23", "/a%2F..%2Fadmin/x", pathEncodedSlash},
		{"A2", "/a/%2e%2e/admin/x", pathDotSegment},
		{"A2", "/a/%2E./admin/x", pathDotSegment},
		{"A3", "/a/../admin/x", pathDotSegment},
		{"A3", "/a/./admin/x", pathDotSegment},
		{"A3", "/a/..", pathDotSegment},
		{"A4", "//admin/x", pathEmptySegment},
		{"A4", "/a//", pathEmptySegment},
		{"A7", `/a\..\admin`, pathBackslash},
		{"A7", "/a%5c..%5cadmin", pathBackslash},
		{"A8", "/a/..;/admin/x", pathMatrixParam},
		{"A8", "/admin;x=1/y", pathMatrixParam},
		{"A8", "/admin%3bx=1/y", pathMatrixParam},
		{"A9", "/admin%00.png", pathControl},
		{"A9", "/admin%0d%0ax", pathControl},
		{"A9", "/admin\x00", pathControl},
		{"A9", "/admin%7f", pathControl},
		{"A10", "/%c0%ae%c0%ae/admin", pathUTF8},
		{"A10", "/%ff", pathUTF8},
		{"A10", "/\xff", pathUTF8},
		{"A10", "/%ed%a0%80", pathUTF8},
		{"A11", "/public#/../admin", pathFragment},
		{"", "/é", pathCharacter},
		{"", "/a b", pathCharacter},
		{"", `/a"b`, pathCharacter},
		{"", "/a<b>", pathCharacter},
		{"", "/%", pathPercent},
		{"", "/%4", pathPercent},
		{"", "/%zz", pathPercent},
		{"", "/%u0041", pathPercent},
		{"A14", "admin/x", targetForm},
		{"A14", "http://b/x", targetForm},
		{"", "", targetForm},
	} {
		got, _, refusal := Path(c.in)
		if refusal == nil {
			t.Errorf("%s %q: accepted as %q, want %s", c.row, c.in, got, c.reason)
		} else if refusal.Reason != c.reason || refusal.Status != 400 {
			t.Errorf("%s %q: %v %d, want %s 400", c.row, c.in, refusal, refusal.Status, c.reason)
		}
	}
}

// FuzzPath is A22: what was matched is what net/url reads from the bytes that are sent.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/%61dmin/", "/%2561", "/a%2fb", "/..", "/a;b", "/%c3%a9/x", "/[x]", "/a%20+b", "/%zz", "/\xff", "/a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) { checkPath(t, in) })
}

// TestPathProperty is A22 with a million paths made of the pieces that attacks are made of.
func TestPathProperty(t *testing.T) {
	pieces := []string{"/", "/", "/", "/", "a", "admin", "7", "%61", "%4a", "%4A", "%2561", "%252e", "..", ".", "%2e", "%2f", "%2F", "%252f", "%5c", "\\", ";x=1", "%3b",
		"%c3%a9", "%c0%ae", "%ff", "%00", "%7f", "%20", "+", "%2b", "~", "%7E", ",", "%2C", "@", ":", "&", "=", "%3F", "%23", "#", "?", "[", "|", "%", "%zz", "é", "$", "'"}
	const seed = 20260822
	random := rand.New(rand.NewPCG(seed, 22))
	accepted := 0
	var in strings.Builder
	for range 1_000_000 {
		in.Reset()
		in.WriteByte('/')
		for range random.IntN(7) {
			in.WriteString(pieces[random.IntN(len(pieces))])
		}
		if checkPath(t, in.String()) {
			accepted++
		}
	}
	if accepted < 100_000 {
		t.Errorf("seed %d: only %d paths of a million were accepted, the property says too little", seed, accepted)
	}
}

// checkPath: what was matched is what net/url reads from the bytes that are sent.
func checkPath(t *testing.T, in string) (accepted bool) {
	path, segments, refusal := Path(in)
	if refusal != nil {
		return false
	}
	again, sameSegments, refusal := Path(path)
	if refusal != nil || again != path || !slices.Equal(sameSegments, segments) {
		t.Fatalf("%q: canonical %q is not its own canonical form: %q %v", in, path, again, refusal)
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || u.RawQuery != "" || u.ForceQuery || u.Host != "" || u.Fragment != "" {
		t.Fatalf("%q: net/url reads %q as %+v, %v", in, path, u, err)
	}
	if u.Path != "/"+strings.Join(segments, "/") {
		t.Fatalf("%q: net/url decodes %q to %q, matched were %q", in, path, u.Path, segments)
	}
	if out := (&url.URL{Path: u.Path, RawPath: path}).EscapedPath(); out != path {
		t.Fatalf("%q: net/url would send %q for %q", in, out, path)
	}
	if u.JoinPath().EscapedPath() != path {
		t.Fatalf("%q: cleaning changes %q", in, path)
	}
	spelled := make([]byte, 0, len(path))
	for i, s := range segments {
		if !utf8.ValidString(s) || s == "." || s == ".." || s == "" && i < len(segments)-1 || strings.ContainsAny(s, "/\\;\x00") {
			t.Fatalf("%q: segment %q", in, s)
		}
		spelled = append(append(spelled, '/'), EncodeSegment(s)...)
	}
	if string(spelled) != path {
		t.Fatalf("%q: segments write %q, path is %q", in, spelled, path)
	}
	return true
}
