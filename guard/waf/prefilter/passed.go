package prefilter

import (
	"hash/maphash"
	"sync/atomic"
)

// passed remembers which texts met no test of one scope: names of arguments, words of an enumeration, what every request
// repeats. It holds no text but 64 bits of a hash at a place that another hash chooses, both with keys of this process that
// nobody can learn, so that nobody can make a text that passes for another. It never grows; a new text takes the place of an
// old one.
type passed struct {
	place, mark maphash.Seed
	marks       []atomic.Uint64 // a power of two of them
}

const (
	manyPassed    = 1 << 12 // for arguments
	fewPassed     = 1 << 8  // for anything else
	longestPassed = 128     // bytes; what is longer is seldom repeated
)

func newPassed(n int) *passed {
	return &passed{place: maphash.MakeSeed(), mark: maphash.MakeSeed(), marks: make([]atomic.Uint64, n)}
}

func (p *passed) at(text string) *atomic.Uint64 {
	return &p.marks[maphash.String(p.place, text)&uint64(len(p.marks)-1)]
}

func (p *passed) has(text string) bool {
	return len(text) <= longestPassed && p.at(text).Load() == maphash.String(p.mark, text)|1
}

func (p *passed) add(text string) {
	if len(text) <= longestPassed {
		p.at(text).Store(maphash.String(p.mark, text) | 1)
	}
}
