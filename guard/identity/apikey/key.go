package apikey

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// Prefix begins every key, so that whoever scans for secrets finds one, kit/leak among them.
const Prefix = "ghk_"

// The parts of a key: ghk_ ID _ BODY. The id is 40 random bits and no secret. The body is 256 random bits and a checksum of
// everything before it, which together are 48 letters without spare bits: a key has one spelling.
const (
	idBytes, idLetters     = 5, 8
	secretBytes, sumBytes  = 32, 4
	bodyLetters            = (secretBytes + sumBytes) * 4 / 3
	Length                 = len(Prefix) + idLetters + 1 + bodyLetters // of a key, in letters
	idAlphabet             = "abcdefghijklmnopqrstuvwxyz234567"
	wrongLength, wrongForm = "an API key has %d letters, and this has %d: it was cut, or something was added", "this is no API key: one begins with " + Prefix
)

var (
	idCode  = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)
	errForm = errors.New(wrongForm)
	errSum  = errors.New("the checksum of the API key is wrong: a letter was changed on the way")
)

// Digest is what is kept of a key. A fast hash is right here, where it would be wrong for a password: slow ones make each
// guess dear, and nobody can guess among 2^256.
type Digest [sha256.Size]byte

// DigestOf is the digest of a whole key, its id included.
func DigestOf(key string) Digest {
	var whole [Length]byte // on the stack
	if copy(whole[:], key); len(key) == Length {
		return sha256.Sum256(whole[:])
	}
	return sha256.Sum256([]byte(key))
}

// Make makes a key from 296 random bits. It is to be shown once; what is kept is its digest.
func Make(random io.Reader) (id, key string, err error) {
	raw := make([]byte, idBytes+secretBytes)
	defer clear(raw)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", "", fmt.Errorf("no randomness for an API key: %w", err)
	}
	id = idCode.EncodeToString(raw[:idBytes])
	body := append(make([]byte, 0, secretBytes+sumBytes), raw[idBytes:]...)
	body = binary.BigEndian.AppendUint32(body, checksum([]byte(Prefix+id+"_"), body))
	return id, Prefix + id + "_" + base64.RawURLEncoding.EncodeToString(body), nil
}

// checksum is CRC-32 over everything before it. It tells slips of the hand from guesses, and proves nothing.
func checksum(head, secret []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, secret)
}

// Parse gives the id in a key that is well formed. Its errors repeat nothing of the text.
func Parse(text string) (id string, err error) {
	switch {
	case !strings.HasPrefix(text, Prefix):
		return "", errForm
	case len(text) != Length:
		return "", fmt.Errorf(wrongLength, Length, len(text))
	}
	const head = Length - bodyLetters
	var whole [Length]byte
	var raw [secretBytes + sumBytes]byte
	copy(whole[:], text)
	n, err := base64.RawURLEncoding.Decode(raw[:], whole[head:])
	if id = text[len(Prefix) : head-1]; err != nil || n != len(raw) || text[head-1] != '_' || !IsID(id) {
		return "", errForm
	}
	if binary.BigEndian.Uint32(raw[secretBytes:]) != checksum(whole[:head], raw[:secretBytes]) {
		return "", errSum
	}
	return id, nil
}

// IsID tells that text has the form of a key's id.
func IsID(text string) bool {
	return len(text) == idLetters && strings.Trim(text, idAlphabet) == ""
}

// In finds what has the form of a key in a text, and gives its id and its digest.
func In(text string) (id string, d Digest, found bool) {
	for {
		at := strings.Index(text, Prefix)
		if at < 0 {
			return "", Digest{}, false
		}
		text = text[at:]
		if len(text) >= Length {
			if id, err := Parse(text[:Length]); err == nil {
				return id, DigestOf(text[:Length]), true
			}
		}
		text = text[len(Prefix):]
	}
}
