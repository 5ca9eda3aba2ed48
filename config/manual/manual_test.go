package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestExtract(t *testing.T) {
	dir := write(t, "rate.go", `package rate
// Config bounds
// requests.
type Config struct {
	// PerAddress is per second; default 50.
	PerAddress int
	Burst, Other int // how many at once
	hidden int // never read
	Silent int
}
type (
	// Inner is inside.
	Inner struct{ A int }
	Word string
)
// Section is for any C.
type Section[C any] struct {
	// Off turns it off.
	Off *C
}
`)
	got, err := Extract(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"rate.Config": "Config bounds requests.", "rate.Config.PerAddress": "PerAddress is per second; default 50.",
		"rate.Config.Burst": "how many at once", "rate.Config.Other": "how many at once", "rate.Inner": "Inner is inside.",
		"rate.Section": "Section is for any C.", "rate.Section.Off": "Off turns it off.",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d comments, want %d: %v", len(got), len(want), got)
	}
}

func TestExtractRefuses(t *testing.T) {
	a := write(t, "a.go", "package rate\ntype Config struct{ A int }\n")
	b := write(t, "b.go", "package rate\ntype Config struct{ B int }\n")
	for name, dirs := range map[string][]string{
		"declared in": {a, b}, "expected": {write(t, "c.go", "package x\ntype {")}, "no such file": {filepath.Join(a, "none")},
	} {
		if _, err := Extract(dirs...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got, err := Extract(write(t, "a_test.go", "package rate\ntype {")); err != nil || len(got) != 0 {
		t.Error("a test file was read", got, err)
	}
}
