package traffic

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// TestCases: every case has a name of its own and requests that a strict reader takes and that differ from each other.
func TestCases(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Cases([]string{"undefined", "1/0"}) {
		if names[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		names[c.Name] = true
		if c.Group == "" || c.Verdict == "" || c.Goal.Part == 0 {
			t.Errorf("%s: no group, verdict or goal", c.Name)
		}
		seen := map[string]bool{}
		for _, r := range c.Requests {
			raw := r.Bytes()
			seen[string(raw)] = true
			read, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			body, err := io.ReadAll(read.Body)
			if err != nil || !bytes.Equal(body, r.Body) {
				t.Errorf("%s: the body is not what its length says: %v", c.Name, err)
			}
			if read.Header.Get("Content-Type") == "application/json" && !json.Valid(body) {
				t.Errorf("%s: %.100s is not JSON", c.Name, body)
			}
		}
		if len(seen) < 2 {
			t.Errorf("%s: all requests are the same, so remembering the verdict would win", c.Name)
		}
	}
}

// TestSizes: the cases are what their names say.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		items, leaves, least, most int
	}{{16, 66, 1 << 10, 1200}, {160, 642, 9_800, 10_600}} {
		body := order(3, c.items, "", nil).Body
		var tree any
		if err := json.Unmarshal(body, &tree); err != nil {
			t.Fatal(err)
		}
		if n := leaves(tree); n != c.leaves || len(body) < c.least || len(body) > c.most {
			t.Errorf("%d items: %d leaves, %d bytes", c.items, n, len(body))
		}
	}
}

func leaves(tree any) (n int) {
	switch x := tree.(type) {
	case map[string]any:
		for _, inner := range x {
			n += leaves(inner)
		}
	case []any:
		for _, inner := range x {
			n += leaves(inner)
		}
	default:
		return 1
	}
	return n
}

func TestTexts(t *testing.T) {
	if n := len(Prose()); n != 8 {
		t.Errorf("prose in %d languages", n)
	}
	for _, list := range [][]string{Paragraphs(), Talk(), Values()} {
		for _, text := range list {
			if text == "" || !utf8.ValidString(text) {
				t.Errorf("%q is no text", text)
			}
		}
	}
}

// TestHalves: no attack is in both halves, each half has at most as many of a class as asked for, and the choice is the
// same every time.
func TestHalves(t *testing.T) {
	root := t.TempDir()
	var lines bytes.Buffer
	for i := range 200 {
		lines.WriteString("' OR " + string(rune('A'+i%26)) + string(rune('a'+i/26)) + "=1--\n")
	}
	for folder := range classes {
		if err := os.MkdirAll(filepath.Join(root, "attacks", folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "attacks", folder, "list.txt"), append(lines.Bytes(), "# a remark\n\x00\n\xff\xfe\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sides := map[string]bool{}
	for _, odd := range []bool{false, true} {
		list, err := Attacks(root, odd, 20)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Attacks(root, odd, 20)
		count := map[string]int{}
		for i, a := range list {
			count[a.Class]++
			if again[i] != a {
				t.Fatal("another choice the second time")
			}
			if side, ok := sides[a.Text]; ok && side != odd {
				t.Errorf("%q is in both halves", a.Text)
			}
			sides[a.Text] = odd
		}
		for class, n := range count {
			if n != 20 {
				t.Errorf("%d of class %s", n, class)
			}
		}
	}
}

// TestNaughty: over the real list, attacks are left out; without it there are strings of our own.
func TestNaughty(t *testing.T) {
	if list, err := Naughty(""); err != nil || len(list) < 5 {
		t.Fatalf("%d strings, %v", len(list), err)
	}
	root := t.TempDir()
	text := "#\tReserved Strings\n#\n#\tStrings which may be used\n\nundefined\nnull\n\n#\tScript Injection\n#\n#\tStrings\n\n<script>\n\n#\tQuotation Marks\n\n'\n"
	if err := os.MkdirAll(filepath.Join(root, "naughty-strings"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "naughty-strings", "blns.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := Naughty(root)
	if err != nil || len(list) != 3 || list[0] != "undefined" || list[2] != "'" {
		t.Errorf("%q, %v", list, err)
	}
}
