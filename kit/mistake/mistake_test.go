package mistake_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func TestAMistakeReads(t *testing.T) {
	for want, m := range map[string]mistake.Mistake{
		"is wrong":                             {What: "is wrong"},
		"a.b: is wrong":                        {Path: "a.b", What: "is wrong"},
		"is wrong (write: b)":                  {What: "is wrong", Write: "b"},
		"f.yaml: a: is wrong":                  {File: "f.yaml", Path: "a", What: "is wrong"},
		"f.yaml:3:7: a: is wrong":              {File: "f.yaml", Line: 3, Column: 7, Path: "a", What: "is wrong"},
		"f.yaml:3:7: is wrong (write: b)":      {File: "f.yaml", Line: 3, Column: 7, What: "is wrong", Write: "b", Excerpt: "not told"},
		"3:7: is wrong":                        {Line: 3, Column: 7, What: "is wrong"},
		"f.yaml: a: is 100% wrong (write: %d)": {File: "f.yaml", Path: "a", What: "is 100% wrong", Write: "%d"},
	} {
		if got := m.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPathsJoin(t *testing.T) {
	for _, c := range [][3]string{
		{"", "", ""}, {"a", "", "a"}, {"", "b", "b"}, {"a", "b", "a.b"}, {"a", "[0]", "a[0]"}, {"", "[0]", "[0]"}, {"a[0]", "b.c", "a[0].b.c"}, {"a", "[0][1]", "a[0][1]"},
	} {
		if got := mistake.Join(c[0], c[1]); got != c[2] {
			t.Errorf("%q under %q is %q, want %q", c[1], c[0], got, c[2])
		}
	}
}

// A part tells its mistakes by its own paths; who asked it moves them below the place of the part. Nothing is lost on the way.
func TestMistakesGoUp(t *testing.T) {
	var inner mistake.List
	inner.Add("[0].audience", "audience: api", "%s is missing", "the audience")
	inner.Add("", "", "is odd")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"nothing":         {nil, ""},
		"a list":          {inner, "issuers[0].audience: the audience is missing (write: audience: api)\nissuers: is odd"},
		"a wrapped list":  {fmt.Errorf("identity: %w", inner), "issuers[0].audience: the audience is missing (write: audience: api)\nissuers: is odd"},
		"one mistake":     {mistake.Mistake{Path: "a", What: "is wrong", Line: 3, Column: 1}, "3:1: issuers.a: is wrong"},
		"another error":   {io.ErrUnexpectedEOF, "issuers: unexpected EOF"},
		"an empty list":   {mistake.List{}, ""},
		"an empty, asked": {mistake.List(nil).Err(), ""},
	} {
		var outer mistake.List
		outer.Under("issuers", c.err)
		if got := outer.Error(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if inner[0].Path != "[0].audience" {
		t.Error("the part's own list was changed")
	}
}

// A list without mistakes is no error; one with some is, also for errors.As.
func TestNoMistakeIsNoError(t *testing.T) {
	var l mistake.List
	if err := l.Err(); err != nil {
		t.Errorf("%v (a typed nil would be an error)", err)
	}
	l.Add("a", "", "is wrong")
	var found mistake.List
	if err := l.Err(); err == nil || !errors.As(fmt.Errorf("load: %w", err), &found) || len(found) != 1 {
		t.Errorf("%v, %v", l.Err(), found)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"audience", "issuer", "roles", "role", "scopes", "a"}
	for word, want := range map[string]string{
		"audiance": "audience", "audeince": "audience", "adience": "audience", "audiences": "audience", "auduence": "audience",
		"isuer": "issuer", "isssuer": "issuer", "rols": "roles", "rolse": "roles", "role": "role", "scope": "scopes",
		"something": "", "AUDIENCE": "", "b": "a", "": "a", "cors": "",
	} {
		if got := mistake.Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := mistake.Nearest("audience", nil); got != "" {
		t.Errorf("%q among no words", got)
	}
}

// FuzzNearest: a known word is its own nearest, what is far is not suggested, and no input panics.
func FuzzNearest(f *testing.F) {
	f.Add("audience", "audiance")
	f.Add("", "")
	f.Add("\xff", "é")
	f.Fuzz(func(t *testing.T, word, other string) {
		if got := mistake.Nearest(word, []string{other, word}); got != word {
			t.Errorf("%q is not nearest to itself but %q", word, got)
		}
		if got := mistake.Nearest(word, []string{other}); got != "" && abs(len(word)-len(other)) > max(1, len(word)/3) {
			t.Errorf("%q is suggested for %q", got, word)
		}
	})
}

func abs(n int) int { return max(n, -n) }
