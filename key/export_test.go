package key

import (
	"crypto/sha256"
	"encoding/json"
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

// Resum gives a keyring its right checksum again after it was changed, as whoever changes one on purpose can; nil when the
// text is no keyring at all.
func Resum(text []byte) []byte {
	var d document
	if json.Unmarshal(text, &d) != nil {
		return nil
	}
	d.Sum = nil
	data, err := d.marshal()
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(data)
	d.Sum = sum[:]
	data, _ = d.marshal()
	return data
}
