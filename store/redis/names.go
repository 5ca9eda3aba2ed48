package redis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// names makes the server's keys: gatehouse:counter:HASH, gatehouse:record:session:HASH. What identifies somebody (an
// address, a subject, a session) is hashed with a key that the server doesn't have: who can list its keys learns neither
// who calls nor a session that could be used.
type names struct {
	prefix string
	key    []byte
}

func (n names) hash(kind, text string) string {
	var sum []byte
	if len(n.key) > 0 {
		h := hmac.New(sha256.New, n.key)
		h.Write([]byte(kind + "\x00" + text))
		sum = h.Sum(nil)
	} else {
		plain := sha256.Sum256([]byte(kind + "\x00" + text))
		sum = plain[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// record is the name of a record: the first part of its key stays readable, for the operator's sake.
func (n names) record(key string) string {
	class, _, ok := strings.Cut(key, "/")
	if !ok || len(class) > 32 {
		class = "-"
	}
	return n.prefix + ":record:" + class + ":" + n.hash("record", key)
}

func (n names) counter(key string) string { return n.prefix + ":counter:" + n.hash("counter", key) }
func (n names) topic(topic string) string { return n.prefix + ":feed:" + topic }
func (n names) nodes() string             { return n.prefix + ":nodes" }
