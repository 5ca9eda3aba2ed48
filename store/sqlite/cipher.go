package sqlite

import (
	"crypto/rand"
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
		vfs.Register(c.layer, wide.Wrap(&blocks{files}, c))
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
		return adiantum.New(name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if key, ok := c.keys[string(name)]; ok {
		return adiantum.New(key)
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

// opens tells whether key opens the file, from its first block or, when that was torn by a crash, its log's. SQLite is
// not let near a file before: with a wrong key it would take the log for garbage and remove it.
func opens(path string, key []byte) bool {
	block, err := firstBlock(path)
	if err == nil && string(decrypt(block, key)[:16]) == "SQLite format 3\x00" {
		return true
	}
	block, err = firstBlock(path + "-wal")
	if err != nil {
		return false
	}
	log := decrypt(block, key)
	return log[0] == 0x37 && log[1] == 0x7f && log[2] == 0x06 && log[3]&^1 == 0x82 && log[4] == 0 && log[5] == 0x2d && log[6] == 0xe2 && log[7] == 0x18
}

func decrypt(block, key []byte) []byte {
	var first [8]byte // the tweak is the block's offset
	return adiantum.New(key).Decrypt(block, first[:])
}

func firstBlock(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	block := make([]byte, blockSize)
	_, err = io.ReadFull(f, block)
	return block, err
}
