package prefilter

import (
	"strings"
	"testing"
)

// A name is told as the engine does, which compares what strings.ToLower gives, also where that and case folding differ.
func TestIsCalled(t *testing.T) {
	names := []string{"", "k", "K", "\u212a", "s", "S", "\u017f", "i", "I", "\u0130", "\u0131", "i\u0307", "Accept", "ACCEPT", "accepT", "a\xff", "A\xff", "\xff"}
	for _, a := range names {
		for _, b := range names {
			if got, want := isCalled(a, b), strings.ToLower(a) == strings.ToLower(b); got != want { //nolint:staticcheck // EqualFold differs about some letters
				t.Errorf("%q, %q: %v", a, b, got)
			}
		}
	}
}
