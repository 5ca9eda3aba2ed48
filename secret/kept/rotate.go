package kept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// Spec says what a random secret is made of. The zero Spec is 32 letters and digits, about 190 bits.
type Spec struct {
	Length   int    // in characters; default 32
	Alphabet string // "letters" (letters and digits, default), "hex", "base64url", "symbols" (letters, digits and signs), or the characters themselves
}

// leastBits is what a random secret must be worth; nobody guesses that.
const leastBits = 128

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	hexadecimal  = "0123456789abcdef"
	urlSafe      = alphanumeric + "-_"
	signs        = alphanumeric + "!#%+,-./:=?@^_~" // none that a shell, a URL's user info in quotes or YAML in quotes would mind
)

// letters gives the alphabet, which must be visible ASCII without repetition.
func (s Spec) letters() (string, error) {
	switch s.Alphabet {
	case "", "letters":
		return alphanumeric, nil
	case "hex":
		return hexadecimal, nil
	case "base64url":
		return urlSafe, nil
	case "symbols":
		return signs, nil
	}
	seen := map[rune]bool{}
	for _, r := range s.Alphabet {
		if r <= ' ' || r > '~' || seen[r] {
			return "", errors.New("the alphabet must be visible ASCII characters, each once; or write letters, hex, base64url or symbols")
		}
		seen[r] = true
	}
	return s.Alphabet, nil
}

// Rotate writes a new random version, as Set does. The value is told to nobody: Get reads it.
func (s *Store) Rotate(ctx context.Context, name string, spec Spec, expected int64, who string) (int64, error) {
	value, err := spec.make(s.opt.Rand)
	if err != nil {
		return 0, err
	}
	return s.Set(ctx, name, value, expected, who)
}

func (s Spec) make(random io.Reader) ([]byte, error) {
	letters, err := s.letters()
	if err != nil {
		return nil, err
	}
	length := s.Length
	if length == 0 {
		length = 32
	}
	switch bits := float64(length) * math.Log2(float64(len(letters))); {
	case random == nil:
		return nil, errors.New("no source of randomness is given")
	case length < 0 || length > 4096:
		return nil, errors.New("the length must be from 1 to 4096 characters")
	case bits < leastBits:
		return nil, fmt.Errorf("%d characters of %d kinds are worth %.0f bits; at least %d are needed: make it %d long", length, len(letters), bits, leastBits, needed(len(letters)))
	}
	out := make([]byte, 0, length)
	most := 256 / len(letters) * len(letters) // above, some letters would come more often
	var block [256]byte
	for len(out) < length {
		if _, err := io.ReadFull(random, block[:]); err != nil {
			return nil, fmt.Errorf("read randomness: %w", err)
		}
		for _, b := range block {
			if int(b) < most && len(out) < length {
				out = append(out, letters[int(b)%len(letters)])
			}
		}
	}
	return out, nil
}

func needed(kinds int) int {
	if kinds < 2 {
		return 4096
	}
	return int(math.Ceil(leastBits / math.Log2(float64(kinds))))
}
