package bearer

import (
	"bytes"
	"errors"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// maxDepth is how deep objects and lists may lie in each other.
const maxDepth = 16

// readObject reads one JSON object that can be understood in one way only, with the reader that bodies are read with: UTF-8,
// no member twice, nothing after it. Numbers stay as written. Two readers that choose differently among two "aud" members
// are a bypass.
func readObject(data []byte) (map[string]any, error) {
	tree, refusal := body.Read(body.JSON, nil, "", bytes.NewReader(data), body.Limits{Bytes: MaxToken, Depth: maxDepth, Declared: int64(len(data))})
	if refusal != nil {
		return nil, errors.New(refusal.Reason)
	}
	object, ok := tree.Value().(map[string]any)
	if !ok {
		return nil, errors.New("it is not an object")
	}
	return object, nil
}
