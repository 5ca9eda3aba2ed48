package key

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Bounds of a keyring, so that a damaged one costs nothing.
const (
	format      = 1
	maxDocument = 1 << 20
	maxPurposes = 256
	maxVersions = 64
)

// document is the keyring as it is stored. There is one way to write each: what is read and written again without becoming
// the same bytes was changed by somebody else.
type document struct {
	Format       int       `json:"format"`
	Installation string    `json:"installation"` // random, names what the keyring belongs to
	Generation   int64     `json:"generation"`   // one more with each change
	Root         Envelope  `json:"root"`         // the ring key, wrapped by the root
	Purposes     []purpose `json:"purposes"`     // in the order of their names
	MAC          []byte    `json:"mac"`          // by the ring key, over all of the above
	Sum          []byte    `json:"sum"`          // SHA-256 over all of the above: tells damage from a wrong root key
}

// purpose is the keys of one purpose, oldest first.
type purpose struct {
	Name string    `json:"purpose"`
	Keys []wrapped `json:"keys"`
}

// wrapped is one version of a purpose's key.
type wrapped struct {
	Version uint32    `json:"version"` // from 1
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"` // encrypted by the ring key
}

// encode writes the document as stored, with its MAC and sum.
func (d document) encode(ring material) ([]byte, error) {
	d.MAC, d.Sum = nil, nil
	data, err := d.marshal()
	if err != nil {
		return nil, err
	}
	d.MAC = ring.mac(data)
	if data, err = d.marshal(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	d.Sum = sum[:]
	return d.marshal()
}

func (d document) marshal() ([]byte, error) {
	data, err := json.MarshalIndent(d, "", "  ")
	return append(data, '\n'), err
}

// parse reads a keyring and finds every accidental change. It cannot yet know whether somebody has written a whole new one:
// that is for authentic, once the root has given the ring key.
func parse(data []byte) (document, error) {
	damaged := func(what string, args ...any) (document, error) {
		return document{}, fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(what, args...))
	}
	if len(data) > maxDocument {
		return damaged("it has %d bytes", len(data))
	}
	var d document
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&d)
	if d.Format > format {
		return document{}, fmt.Errorf("%w: it has format %d, written by a newer Gatehouse; this one reads %d: use the newer program", ErrDamaged, d.Format, format)
	}
	if err != nil {
		return damaged("it is no JSON of ours")
	}
	if _, err := dec.Token(); err != io.EOF {
		return damaged("something follows it")
	}
	again, err := d.marshal()
	if err != nil || !bytes.Equal(again, data) {
		return damaged("it is not written the way Gatehouse writes")
	}
	sum := d
	sum.Sum = nil
	plain, err := sum.marshal()
	if want := sha256.Sum256(plain); err != nil || !bytes.Equal(want[:], d.Sum) {
		return damaged("its checksum is not right")
	}
	if what := d.wrong(); what != "" {
		return damaged("%s", what)
	}
	return d, nil
}

// wrong tells what cannot be in a keyring of ours.
func (d document) wrong() string {
	switch {
	case d.Format != format:
		return fmt.Sprintf("format %d does not exist", d.Format)
	case !validName(d.Installation):
		return "it names no installation"
	case d.Generation < 1:
		return "it has no generation"
	case d.Root.Kind == "" || len(d.Root.Data) == 0:
		return "it has no root"
	case len(d.Purposes) > maxPurposes:
		return "it has too many purposes"
	case !slices.IsSortedFunc(d.Purposes, func(a, b purpose) int { return strings.Compare(a.Name, b.Name) }):
		return "its purposes are not in order"
	}
	for i, p := range d.Purposes {
		if !validName(p.Name) || i > 0 && d.Purposes[i-1].Name == p.Name {
			return "a purpose has no name of its own"
		}
		if len(p.Keys) == 0 || len(p.Keys) > maxVersions {
			return "a purpose has no keys, or too many"
		}
		for j, k := range p.Keys {
			if k.Version == 0 || j > 0 && p.Keys[j-1].Version >= k.Version {
				return "versions of a purpose are not in order"
			}
		}
	}
	return ""
}

// authentic tells that the whole keyring was written by somebody who had the ring key.
func (d document) authentic(ring material) bool {
	mac := d.MAC
	d.MAC, d.Sum = nil, nil
	data, err := d.marshal()
	return err == nil && hmac.Equal(mac, ring.mac(data))
}

// rootAAD binds the wrapped ring key to this installation.
func rootAAD(installation string) []byte { return []byte("gatehouse ring key\x00" + installation) }

// purposeAAD binds a wrapped key to its place in the keyring.
func purposeAAD(installation, name string, version uint32) []byte {
	return fmt.Appendf(nil, "gatehouse purpose key\x00%s\x00%s\x00%d", installation, name, version)
}

// validName: lower case letters, digits, minus and underscore, a letter first for purposes; at most 64.
func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
