package literal

import "math/bits"

// Sieve asks the conditions of all patterns of a text in one pass. It never changes once built and may be shared.
type Sieve struct {
	automaton
	ids      int
	patterns []judged
	alone    []ByteSet     // of each clause, the bytes of a text that alone meet it
	keyOf    [][]uint32    // of each clause, the patterns whose key it is
	keys     [256][]uint32 // of each byte, the keys that it alone meets
	always   []uint32      // patterns that promise nothing
	loose    []group       // patterns that need no clause
	bare     bool          // some literal stands in the bare text
}

// judged is what the sieve knows of a pattern. Of its clauses the rarest is its key: only where that is met is the
// pattern looked at.
type judged struct {
	clauses []uint32 // the key first
	min     int
	sets    []ByteSet
	ids     []int
}

// group is patterns without clauses that need the same byte set, and the least length of any.
type group struct {
	set      ByteSet
	min      int
	patterns []uint32
}

// file adds a pattern without clauses to its group.
func (s *Sieve) file(p uint32, j judged) {
	set := ByteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	least := max(j.min, 0)
	if len(j.sets) > 0 {
		set, least = j.sets[0], max(j.min, 1)
	} else if least == 0 {
		s.always = append(s.always, p)
		return
	}
	for i := range s.loose {
		if g := &s.loose[i]; g.set == set {
			g.min = min(g.min, least)
			g.patterns = append(g.patterns, p)
			return
		}
	}
	s.loose = append(s.loose, group{set, least, []uint32{p}})
}

// Size is the number of ids.
func (s *Sieve) Size() int { return s.ids }

// Work is the scratch space of one goroutine for one sieve.
type Work struct {
	scan      uint32   // number of the scan; what carries another number is of an earlier one
	plainEnds []uint32 // of each accepting state, the scan that saw it last
	bareEnds  []uint32 // the same for the bare text
	seen      []uint32 // of each clause, the scan that met it last
	full      []uint32 // patterns whose key is met
	result    []uint64
}

// NewWork makes the scratch space that Scan needs.
func (s *Sieve) NewWork() *Work {
	return &Work{
		plainEnds: make([]uint32, len(s.ends)),
		bareEnds:  make([]uint32, len(s.ends)),
		seen:      make([]uint32, len(s.keyOf)),
		full:      make([]uint32, 0, len(s.patterns)),
		result:    make([]uint64, (s.ids+63)/64),
	}
}

// Scan reports the patterns whose condition the text meets, as a set of bits over the ids: pattern id may match if
// result[id/64]>>(id%64)&1 is 1, and cannot if it is 0. The result is valid until the next Scan with the same Work,
// which must come from NewWork of the same sieve.
func (s *Sieve) Scan(text string, w *Work) []uint64 {
	w.begin()
	held := s.read(text, w)
	if s.bare && (held[1]&fillerHigh != 0 || held[0]&fillerLow != 0) {
		s.readBare(text, w)
	}
	for i, part := range held {
		for ; part != 0; part &= part - 1 {
			s.meet(s.keys[i*64+bits.TrailingZeros64(part)], w)
		}
	}
	for _, p := range s.always {
		s.judge(p, len(text), &held, w)
	}
	for i := range s.loose {
		if g := &s.loose[i]; len(text) >= g.min && g.set.meets(&held) {
			for _, p := range g.patterns {
				s.judge(p, len(text), &held, w)
			}
		}
	}
	for _, p := range w.full {
		s.judge(p, len(text), &held, w)
	}
	return w.result
}

// begin makes the work forget the last scan.
func (w *Work) begin() {
	w.scan++
	if w.scan == 0 { // numbers are used up: start anew
		clear(w.plainEnds)
		clear(w.bareEnds)
		clear(w.seen)
		w.scan = 1
	}
	w.full = w.full[:0]
	clear(w.result)
}

// meet notes that clauses are met.
func (s *Sieve) meet(clauses []uint32, w *Work) {
	for _, clause := range clauses {
		if w.seen[clause] != w.scan {
			w.seen[clause] = w.scan
			w.full = append(w.full, s.keyOf[clause]...)
		}
	}
}

// judge reports the pattern's ids if all that its condition asks is met.
func (s *Sieve) judge(p uint32, length int, held *ByteSet, w *Work) {
	j := &s.patterns[p]
	if length < j.min {
		return
	}
	for i := range j.sets {
		if !held.meets(&j.sets[i]) {
			return
		}
	}
	for _, clause := range j.clauses {
		if w.seen[clause] != w.scan && !held.meets(&s.alone[clause]) {
			return
		}
	}
	for _, id := range j.ids {
		w.result[id/64] |= 1 << (id % 64)
	}
}
