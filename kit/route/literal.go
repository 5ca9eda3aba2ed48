package route

import "hash/maphash"

// literals finds a node by its segment in a time that does not depend on how many there are: open addressing, at most
// half full, in one array. A map of Go's is faster while it holds eight keys or fewer, which would make a large contract
// slower than a small one. It never changes after it is built, so nobody can fill it with colliding segments.
type literals[T any] struct {
	seed  maphash.Seed
	mask  uint64
	slots []slot[T]
}

type slot[T any] struct {
	hash    uint64
	segment string
	node    *node[T]
}

func newLiterals[T any](children map[string]*node[T]) literals[T] {
	if len(children) == 0 {
		return literals[T]{}
	}
	size := 4
	for size < 2*len(children) {
		size *= 2
	}
	l := literals[T]{seed: maphash.MakeSeed(), mask: uint64(size - 1), slots: make([]slot[T], size)}
	for segment, n := range children {
		h := maphash.String(l.seed, segment)
		at := h & l.mask
		for l.slots[at].node != nil {
			at = (at + 1) & l.mask
		}
		l.slots[at] = slot[T]{h, segment, n}
	}
	return l
}

func (l *literals[T]) find(segment string) *node[T] {
	if len(l.slots) == 0 {
		return nil
	}
	h := maphash.String(l.seed, segment)
	for at := h & l.mask; ; at = (at + 1) & l.mask {
		s := &l.slots[at]
		if s.node == nil || s.hash == h && s.segment == segment {
			return s.node
		}
	}
}
