package redis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"
)

// names makes the server's keys: gatehouse:counter:HASH, gatehouse:record:session:HASH. What identifies somebody (an
// address, a subject, a session) is hashed with a key that the server doesn't have: who can list its keys learns neither
// who calls nor a session that could be used.
type names struct {
	prefix string
	key    []byte
}

func (n names) hash(kind, text string) string { return n.hasher().hash(kind, text) }

// hasher makes many names: setting up the key costs more than a name.
type hasher struct {
	hash.Hash
	text, sum []byte
}

func (n names) hasher() *hasher {
	if len(n.key) > 0 {
		return &hasher{Hash: hmac.New(sha256.New, n.key)}
	}
	return &hasher{Hash: sha256.New()}
}

func (h *hasher) hash(kind, text string) string {
	h.Reset()
	h.text = append(append(append(h.text[:0], kind...), 0), text...)
	_, _ = h.Write(h.text)
	h.sum = h.Sum(h.sum[:0])
	return base64.RawURLEncoding.EncodeToString(h.sum[:24])
}

// record is the name of a record: the first part of its key stays readable, for the operator's sake.
func (n names) record(key string) string {
	class, _, ok := strings.Cut(key, "/")
	if !ok || len(class) > 32 {
		class = "-"
	}
	return n.prefix + ":record:" + class + ":" + n.hash("record", key)
}

func (n names) counter(key string) string { return n.counterBy(n.hasher(), key) }

func (n names) counterBy(h *hasher, key string) string {
	return n.prefix + ":counter:" + h.hash("counter", key)
}

func (n names) topic(topic string) string { return n.prefix + ":feed:" + topic }
func (n names) nodes() string             { return n.prefix + ":nodes" }
