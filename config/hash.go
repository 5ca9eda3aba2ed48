package config

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sort"
)

// Hash is SHA-256 of what the section at path says. Comments, spacing, quotes and the order of keys make no difference;
// the order of a list does. It is all zeros when there is no such section. What belongs to a section across reloads, such
// as pools and breakers, is found by it.
func (d *Document) Hash(path string) [32]byte {
	at := d.find(path)
	if at.node == nil {
		return [32]byte{}
	}
	h := sha256.New()
	at.node.hash(h)
	return [32]byte(h.Sum(nil))
}

// hash writes a form from which the content could be read back, so that two contents never share one.
func (n *node) hash(h hash.Hash) {
	switch n.kind {
	case kindMapping:
		writeHead(h, 'm', len(n.pairs))
		pairs := append([]pair(nil), n.pairs...)
		sort.Slice(pairs, func(i, j int) bool { return pairs[i].key < pairs[j].key })
		for _, p := range pairs {
			writeText(h, p.key)
			p.value.hash(h)
		}
	case kindList:
		writeHead(h, 'l', len(n.items))
		for _, item := range n.items {
			item.hash(h)
		}
	case kindScalar:
		writeText(h, n.text)
	default:
		writeHead(h, 'n', 0)
	}
}

func writeText(h hash.Hash, text string) {
	writeHead(h, 's', len(text))
	_, _ = h.Write([]byte(text))
}

func writeHead(h hash.Hash, kind byte, size int) {
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte{kind}, uint64(size)))
}
