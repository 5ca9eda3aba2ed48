// Package unit holds quantities that a document writes with their unit, so that nobody has to guess whether 1024 means
// bytes or kilobytes.
package unit

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes. In a document it is written "16KiB", "1MiB", "1GiB", "512B" or a plain number of bytes.
type Size int64

// Sizes in bytes, powers of 1024.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// UnmarshalText reads the written form. Negative sizes, fractions and decimal units (kB, MB) are refused.
func (s *Size) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	number, factor := word, Size(1)
	for _, u := range []struct {
		suffix string
		factor Size
	}{{"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}, {"B", 1}} {
		if n, ok := strings.CutSuffix(word, u.suffix); ok {
			number, factor = strings.TrimSpace(n), u.factor
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 62)
	if err != nil || Size(n) > (1<<62)/factor {
		return fmt.Errorf("%q is not a size; write a whole number with B, KiB, MiB or GiB, such as 16KiB", word)
	}
	*s = Size(n) * factor
	return nil
}

// MarshalText writes the largest unit that divides the size.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes the largest unit that divides the size, such as "16KiB".
func (s Size) String() string {
	switch {
	case s != 0 && s%GiB == 0:
		return fmt.Sprintf("%dGiB", s/GiB)
	case s != 0 && s%MiB == 0:
		return fmt.Sprintf("%dMiB", s/MiB)
	case s != 0 && s%KiB == 0:
		return fmt.Sprintf("%dKiB", s/KiB)
	}
	return fmt.Sprintf("%dB", int64(s))
}
