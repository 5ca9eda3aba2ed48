package jws

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// maxDepth is how deep objects and lists may lie in each other.
const maxDepth = 16

// latest is the last moment that a claim can name, the end of the year 9999: larger numbers overflow somewhere (row E8).
const latest = 253402300799

// Object reads one JSON object that can be understood in one way only, with the reader that bodies are read with: UTF-8,
// no member twice, nothing after it. Numbers stay as written, as json.Number. Two readers that choose differently among two
// "aud" members are a bypass.
func Object(data []byte) (map[string]any, error) {
	tree, refusal := body.Read(body.JSON, nil, "", bytes.NewReader(data), body.Limits{Bytes: Max, Depth: maxDepth, Declared: int64(len(data))})
	if refusal != nil {
		return nil, errors.New(refusal.Reason)
	}
	object, ok := tree.Value().(map[string]any)
	if !ok {
		return nil, errors.New("it is not an object")
	}
	return object, nil
}

// Seconds reads a NumericDate (RFC 7519 section 2) that is a whole number. Strings, fractions, exponents and signs are
// refused.
func Seconds(value any) (time.Time, bool) {
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	n, err := strconv.ParseUint(string(number), 10, 63)
	if err != nil || n == 0 || n > latest {
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0), true
}
