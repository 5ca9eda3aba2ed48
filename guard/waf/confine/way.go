package confine

import (
	"math/bits"
	"slices"
)

// way is texts of ASCII as places, each of which reads one byte, and what may come after each. The empty text goes every way.
type way struct {
	reads  [][2]uint64 // by place: which bytes
	follow [][]int
	first  []int
	ends   []bool
}

// mostPlaces bounds a way; what is longer is described by its pairs alone.
const mostPlaces = 130

// way gives the way through a program that was walked; nil for one that is too long.
func (w *walk) way() *way {
	if len(w.next) > mostPlaces || len(w.next) == 0 {
		return nil
	}
	number := map[int]int{}
	var order []int
	for at := range w.next {
		order = append(order, at)
	}
	slices.Sort(order)
	for i, at := range order {
		number[at] = i
	}
	translate := func(list []int) []int {
		out := make([]int, len(list))
		for i, at := range list {
			out[i] = number[at]
		}
		return out
	}
	made := &way{first: translate(w.starts)}
	for _, at := range order {
		set := w.set(at).bytes
		made.reads = append(made.reads, [2]uint64{set[0], set[1]})
		made.follow = append(made.follow, translate(w.next[at].reads))
		made.ends = append(made.ends, w.next[at].ends)
	}
	return made
}

// mapped is the way with each byte replaced by another.
func (w *way) mapped(to func(byte) byte) *way {
	if w == nil {
		return nil
	}
	m := *w
	m.reads = make([][2]uint64, len(w.reads))
	for i, r := range w.reads {
		for _, c := range asciiOf(r) {
			m.reads[i][to(c)>>6] |= 1 << (to(c) & 63)
		}
	}
	return &m
}

// write gives all there is of a way, for a fingerprint.
func (w *way) write(word func(uint64)) {
	if w == nil {
		return
	}
	list := func(numbers []int) {
		word(uint64(len(numbers)))
		for _, n := range numbers {
			word(uint64(n))
		}
	}
	list(w.first)
	for i, r := range w.reads {
		word(r[0])
		word(r[1])
		list(w.follow[i])
		if w.ends[i] {
			word(1)
		} else {
			word(0)
		}
	}
}

// steps is the way of texts of which it is known what may follow what: a place for each byte.
func (p *parts) steps() *way {
	list := members(p.bytes)
	number := map[byte]int{}
	for i, c := range list {
		number[c] = i
	}
	w := &way{}
	for i, c := range list {
		var r [2]uint64
		r[c>>6] |= 1 << (c & 63)
		w.reads = append(w.reads, r)
		var next []int
		for _, n := range members(p.pairs[c]) {
			if at, ok := number[n]; ok {
				next = append(next, at)
			}
		}
		w.follow = append(w.follow, next)
		w.ends = append(w.ends, p.last.Has(c))
		if p.first.Has(c) {
			w.first = append(w.first, i)
		}
	}
	return w
}

// asciiOf lists the bytes of a set.
func asciiOf(set [2]uint64) []byte {
	list := make([]byte, 0, bits.OnesCount64(set[0])+bits.OnesCount64(set[1]))
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			list = append(list, byte(i*64+bits.TrailingZeros64(word)))
		}
	}
	return list
}

// closer is the shorter of two ways, which mostly says more.
func closer(a, b *way) *way {
	if a == nil || b != nil && len(b.reads) < len(a.reads) {
		return b
	}
	return a
}
