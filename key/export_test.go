package key

import (
	"strings"
	"testing"
)

// CheckShareForm: what is read as a share is written as the same, apart from spaces and large letters.
func CheckShareForm(t *testing.T, text string) {
	s, err := parseShare([]byte(text))
	if err != nil {
		return
	}
	if s.text() != strings.ToLower(strings.Join(strings.Fields(text), "")) || len(s.value) != size || s.index < 1 {
		t.Errorf("%q became %q", text, s.text())
	}
}

// ShareText is a share that is well formed.
func ShareText() string { return share{set: "0a1b2c3d", index: 3, value: make([]byte, size)}.text() }
