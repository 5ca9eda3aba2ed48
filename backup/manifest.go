package backup

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// format names the form of an archive. Another form needs another name.
const format = "gatehouse.backup/1"

// maxManifest bounds a manifest, in bytes; maxParts the number of its parts.
const (
	maxManifest = 16 << 20
	maxParts    = 100_000
)

// Manifest says what a backup holds. It stands in the archive twice: at the beginning without what is only known at the
// end, so that a stranger's archive is refused before anything of it is written down; and at the end.
type Manifest struct {
	Format string    `json:"format"`
	ID     string    `json:"id"` // time and a random part, as in the file's name
	Time   time.Time `json:"time"`
	Maker  Maker     `json:"maker"`
	// Revision is how far the store had come before it was copied; the copy is at least as new.
	Revision int64 `json:"revision"`
	// Facts are what a proof compares with what it finds, such as hashes of sample records.
	Facts map[string]string `json:"facts,omitempty"`
	// Absent names what a reader might look for and why it is not there.
	Absent []Absent `json:"absent,omitempty"`
	// Checkpoints are the newest signed checkpoints of the event log, a line each.
	Checkpoints []string `json:"checkpoints,omitempty"`
	End         bool     `json:"end"`             // it is the one at the end
	Parts       []Sum    `json:"parts,omitempty"` // at the end only
}

// Maker is who made a backup.
type Maker struct {
	Installation string `json:"installation"`
	Node         string `json:"node"`
	Version      string `json:"version"` // of the gateway
	Schema       int    `json:"schema"`  // of the store
}

// Absent is something that is not in a backup.
type Absent struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Sum is one part as it was written.
type Sum struct {
	Name   string `json:"name"` // path below the state directory, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Size is how many bytes all parts have together.
func (m Manifest) Size() int64 {
	n := int64(0)
	for _, p := range m.Parts {
		n += p.Size
	}
	return n
}

// Signer signs manifests with an Ed25519 key, whose seed comes from the key ring.
type Signer interface {
	Public() ed25519.PublicKey
	Sign(message []byte) ([]byte, error)
}

// sealedManifest is a manifest as it stands in the archive. What is signed are the manifest's own bytes.
type sealedManifest struct {
	Manifest  json.RawMessage `json:"manifest"`
	Key       []byte          `json:"key"`
	Signature []byte          `json:"signature"`
}

// signedText keeps a signature of a manifest from being one of anything else.
func signedText(manifest []byte) []byte { return append([]byte(format+"\n"), manifest...) }

func (m Manifest) seal(with Signer) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	signature, err := with.Sign(signedText(text))
	if err != nil {
		return nil, fmt.Errorf("sign backup: %w", err)
	}
	return json.Marshal(sealedManifest{Manifest: text, Key: with.Public(), Signature: signature})
}

// readManifest reads a manifest and gives the key that has signed it; whether that is to be believed is the caller's part.
func readManifest(data []byte) (Manifest, ed25519.PublicKey, error) {
	var s sealedManifest
	if err := strict(data, &s); err != nil {
		return Manifest{}, nil, err
	}
	if len(s.Key) != ed25519.PublicKeySize || !ed25519.Verify(s.Key, signedText(s.Manifest), s.Signature) {
		return Manifest{}, nil, errors.New("its signature does not hold")
	}
	var m Manifest
	if err := strict(s.Manifest, &m); err != nil {
		return Manifest{}, nil, err
	}
	if m.Format != format {
		return Manifest{}, nil, fmt.Errorf("it has the form %q; this gateway reads %s", m.Format, format)
	}
	return m, s.Key, m.check()
}

// strict decodes exactly one JSON value without unknown fields.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the manifest")
	}
	return nil
}

func (m Manifest) check() error {
	if !validID(m.ID) {
		return fmt.Errorf("%q is not the name of a backup", m.ID)
	}
	seen := map[string]bool{}
	for _, p := range m.Parts {
		if err := checkName(p.Name); err != nil {
			return err
		}
		if seen[p.Name] || p.Size < 0 || len(p.SHA256) != 64 {
			return fmt.Errorf("part %q is listed wrongly", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// checkName refuses names that would leave the directory or say another thing to another system.
func checkName(name string) error {
	ok := name != "" && len(name) <= 200 && filepath.IsLocal(name) && path.Clean(name) == name && !strings.HasPrefix(name, ".")
	for i := range len(name) {
		c := name[i]
		ok = ok && c > ' ' && c <= '~' && c != '\\' && c != ':'
	}
	if !ok {
		return fmt.Errorf("%q is not the name of a part; use a path of visible ASCII with slashes that stays in its directory", name)
	}
	return nil
}

// stamp is the form of the time in a backup's name.
const stamp = "20060102T150405Z"

// newID makes the name of a backup: its second, what of it had passed in 65536ths, so that the names of two that are made in
// one second tell which is the newer, and 16 bits of chance.
func newID(now time.Time, random io.Reader) (string, error) {
	var b [4]byte
	if _, err := io.ReadFull(random, b[2:]); err != nil {
		return "", fmt.Errorf("name backup: %w", err)
	}
	binary.BigEndian.PutUint16(b[:2], uint16(int64(now.Nanosecond())<<16/int64(time.Second))) //nolint:gosec // less than 65536
	return fmt.Sprintf("%s-%x", now.UTC().Format(stamp), b), nil
}

func validID(id string) bool {
	when, rest, ok := strings.Cut(id, "-")
	_, err := time.Parse(stamp, when)
	return ok && err == nil && len(when) == len(stamp) && len(rest) == 8 && strings.Trim(rest, "0123456789abcdef") == ""
}
