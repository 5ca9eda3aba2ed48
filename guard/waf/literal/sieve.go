package literal

import "math/bits"

// marks says of which byte sets a text holds a byte.
type marks [2]uint64

const (
	markBits   = 128
	fillerMark = 1 // bit 0: the text holds filler
)

// has says whether all of o is in m.
func (m marks) has(o marks) bool { return o[0]&^m[0]|o[1]&^m[1] == 0 }

// Sieve asks the conditions of all patterns of a text in one pass. It never changes once built and may be shared.
type Sieve struct {
	automaton
	ids      int
	patterns []judged
	wanted   [][]uint32 // of each clause, the patterns that need it
	marks    [256]marks // of each byte, the byte sets that hold it
	always   []uint32   // patterns that need neither a clause nor a byte set
	byMark   [][]uint32 // of each byte set, the patterns that need it and no clause
	marked   marks      // the byte sets that have patterns in byMark
}

// judged is what the sieve knows of a pattern.
type judged struct {
	need  uint32 // clauses that must be met
	min   int
	marks marks
	ids   []int
}

// loose files a pattern that needs no clause.
func (s *Sieve) loose(p uint32, m marks) {
	for i, part := range m {
		if part == 0 {
			continue
		}
		bit := i*64 + bits.TrailingZeros64(part)
		for len(s.byMark) <= bit {
			s.byMark = append(s.byMark, nil)
		}
		s.byMark[bit] = append(s.byMark[bit], p)
		s.marked[i] |= 1 << (bit % 64)
		return
	}
	s.always = append(s.always, p)
}

// Size is the number of ids.
func (s *Sieve) Size() int { return s.ids }

// Work is the scratch space of one goroutine for one sieve.
type Work struct {
	scan      uint32   // number of the scan; what carries another number is of an earlier one
	plainEnds []uint32 // of each accepting state, the scan that saw it last
	bareEnds  []uint32 // the same for the text without filler
	touched   []uint32 // accepting states that this scan saw
	seen      []uint32 // of each clause, the scan that met it last
	met       []uint32 // of each pattern, how many clauses are met
	metIn     []uint32 // and in which scan
	full      []uint32 // patterns whose clauses are all met
	result    []uint64
}

// NewWork makes the scratch space that Scan needs.
func (s *Sieve) NewWork() *Work {
	return &Work{
		plainEnds: make([]uint32, len(s.ends)),
		bareEnds:  make([]uint32, len(s.ends)),
		touched:   make([]uint32, 0, len(s.ends)),
		seen:      make([]uint32, len(s.wanted)),
		met:       make([]uint32, len(s.patterns)),
		metIn:     make([]uint32, len(s.patterns)),
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
	s.bare(text, held, w)
	for _, p := range s.always {
		s.judge(p, len(text), held, w)
	}
	for i := range s.marked {
		for m := s.marked[i] & held[i]; m != 0; m &= m - 1 {
			for _, p := range s.byMark[i*64+bits.TrailingZeros64(m)] {
				s.judge(p, len(text), held, w)
			}
		}
	}
	for _, p := range w.full {
		s.judge(p, len(text), held, w)
	}
	return w.result
}

// bare notes the clauses over the text without filler. A text that holds none has just been read.
func (s *Sieve) bare(text string, held marks, w *Work) {
	if held[0]&fillerMark != 0 {
		s.readBare(text, w)
		return
	}
	for _, e := range w.touched {
		s.meet(s.ends[e].bare, w)
	}
}

// begin makes the work forget the last scan.
func (w *Work) begin() {
	w.scan++
	if w.scan == 0 { // numbers are used up: start anew
		clear(w.plainEnds)
		clear(w.bareEnds)
		clear(w.seen)
		clear(w.metIn)
		w.scan = 1
	}
	w.full, w.touched = w.full[:0], w.touched[:0]
	clear(w.result)
}

// judge reports the pattern's ids if length and bytes allow it too.
func (s *Sieve) judge(p uint32, length int, held marks, w *Work) {
	j := &s.patterns[p]
	if length < j.min || !held.has(j.marks) {
		return
	}
	for _, id := range j.ids {
		w.result[id/64] |= 1 << (id % 64)
	}
}

// meet notes that clauses are met.
func (s *Sieve) meet(clauses []uint32, w *Work) {
	for _, clause := range clauses {
		if w.seen[clause] == w.scan {
			continue
		}
		w.seen[clause] = w.scan
		for _, p := range s.wanted[clause] {
			if w.metIn[p] != w.scan {
				w.metIn[p], w.met[p] = w.scan, 0
			}
			if w.met[p]++; w.met[p] == s.patterns[p].need {
				w.full = append(w.full, p)
			}
		}
	}
}
