// Package words writes a key of 32 bytes as 24 words that people can write down, read aloud and type again, by the list and
// checksum of BIP 39. One wrong or swapped word is found (in 255 of 256 cases by the checksum alone, mostly by the list), so
// that a slip of the pen is told as such and never taken for another key.
package words

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tyler-smith/go-bip39"
)

// Count is the number of words of a key, Size its length in bytes.
const (
	Count = 24
	Size  = 32
)

// Of writes a key of Size bytes as Count words of lower case letters, divided by single spaces.
func Of(key []byte) (string, error) {
	if len(key) != Size {
		return "", fmt.Errorf("words stand for %d bytes, not for %d", Size, len(key))
	}
	return bip39.NewMnemonic(key)
}

// Parse reads words as people write them down: in lines or columns, numbered ("1. abandon" or "1 abandon"), in any case.
// An error tells the place of a word and never the word, which may be most of the secret.
func Parse(text string) ([]byte, error) {
	if len(text) > 4096 {
		return nil, errors.New("that is far more than 24 words")
	}
	var list []string
	for _, field := range strings.Fields(strings.ToLower(text)) {
		if field = strings.Trim(field, "0123456789.,:;)"); field != "" {
			list = append(list, field)
		}
	}
	if len(list) != Count {
		return nil, fmt.Errorf("%d words are needed, these are %d", Count, len(list))
	}
	for i, word := range list {
		if _, known := bip39.GetWordIndex(word); !known {
			return nil, fmt.Errorf("word %d is not one of the list; compare it with what was written down", i+1)
		}
	}
	key, err := bip39.EntropyFromMnemonic(strings.Join(list, " "))
	if err != nil || len(key) != Size {
		return nil, errors.New("the words are all of the list, but their checksum is not right: one is another, or two have changed places")
	}
	return key, nil
}
