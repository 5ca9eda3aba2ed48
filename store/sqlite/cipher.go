package sqlite

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"

	"github.com/ncruces/go-sqlite3/vfs"
	wide "github.com/ncruces/go-sqlite3/vfs/adiantum"
	"lukechampine.com/adiantum"
	"lukechampine.com/adiantum/hbsh"

	"github.com/gatehouse-sec/gatehouse/secret"
)

const (
	keySize   = 32
	blockSize = 4096
)

// cipher is the encrypted file layer of one store. SQLite and its errors see only a key's name, such as "current": the
// bytes are looked up here, and stand in no statement and no URI.
type cipher struct {
	layer string // the name under which SQLite knows this file layer

	mu   sync.Mutex
	keys map[string][]byte
}

// The names of keys.
const (
	current = "current"
	changed = "changed"
)

func newCipher(files vfs.VFS, plain bool) *cipher {
	c := &cipher{layer: "gatehouse-" + random(), keys: map[string][]byte{}}
	if plain {
		vfs.Register(c.layer, files)
	} else {
		below := &blocks{files}
		vfs.Register(c.layer, &layer{VFS: wide.Wrap(below, c), below: files, cipher: c})
	}
	return c
}

func random() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}

// forget ends the file layer.
func (c *cipher) forget() { vfs.Unregister(c.layer) }

// hold keeps a key under a name.
func (c *cipher) hold(name string, key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[name] = append([]byte(nil), key...)
}

func (c *cipher) release(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.keys[name])
	delete(c.keys, name)
}

// HBSH gives the cipher for a key's name, or for the 32 random bytes of a temporary file.
func (c *cipher) HBSH(name []byte) *hbsh.HBSH {
	if len(name) == keySize {
		return adiantum.New(bytes.Clone(name)) // which keeps what it is given
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if key, ok := c.keys[string(name)]; ok {
		return adiantum.New(bytes.Clone(key))
	}
	return nil
}

// KDF gives a random key for a temporary file. Passphrases are not taken here.
func (c *cipher) KDF(text string) []byte {
	if text != "" {
		return nil
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	return key
}

// uri names a file to SQLite, with the layer and the name of its key. New files beside it get its mode.
func (c *cipher) uri(path, key string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path,
		RawQuery: url.Values{"vfs": {c.layer}, "key": {key}, "modeof": {path}}.Encode()}
	return u.String()
}

func checkKey(v secret.Value) ([]byte, error) {
	if v.IsZero() {
		return nil, fmt.Errorf("%w: no key is given", ErrKey)
	}
	key := v.Reveal()
	if len(key) != keySize {
		return nil, fmt.Errorf("%w: a key has %d bytes, this one has %d", ErrKey, keySize, len(key))
	}
	return key, nil
}

// opens tells whether key opens the file, from its first block or, when that was torn by a crash, its journal's or log's. SQLite is
// not let near a file before: with a wrong key it would take the log for garbage and remove it.
func opens(path string, key []byte) bool {
	if head, err := beginning(path, blockSize); err == nil {
		if bytes.HasPrefix(decrypt(head, key, make([]byte, 8)), []byte(magic)) {
			return true
		}
	}
	if head, err := beginning(path+"-journal", blockSize); err == nil {
		if bytes.HasPrefix(decrypt(head, key, make([]byte, 8)), []byte(journalMagic)) {
			return true
		}
	}
	head, err := beginning(path+"-wal", logHead)
	if err != nil {
		return false
	}
	head = decrypt(head, key, tweak(0))
	return binary.BigEndian.Uint32(head)&^1 == logMagic && binary.BigEndian.Uint32(head[4:]) == logFormat
}

// How a database and its log begin. https://sqlite.org/fileformat2.html
const (
	magic = "SQLite format 3\x00"
	// The journal is there while the log is being given up, in a change of key; SQLite takes the file back by it.
	journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

	logMagic  = 0x377f0682 // the last bit says in which order checksums are made
	logFormat = 3007000
)

func decrypt(piece, key, tweak []byte) []byte {
	return adiantum.New(bytes.Clone(key)).Decrypt(bytes.Clone(piece), tweak)
}

func beginning(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, n)
	_, err = io.ReadFull(f, head)
	return head, err
}
