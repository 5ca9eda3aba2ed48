package literal

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Builder collects conditions for a Sieve. The zero Builder is ready.
type Builder struct {
	ids      []int             // of each id, its pattern
	patterns []pattern         // conditions that differ
	known    map[string]int    // patterns by their spelling
	clauses  map[string]uint32 // clauses by their spelling
	words    [][]word          // of each clause, its literals
	wanted   [][]uint32        // of each clause, the patterns that need it
	sets     []ByteSet         // byte sets that differ, the most wanted first once built
}

// pattern is a condition as the sieve judges it.
type pattern struct {
	clauses int   // how many must be met
	sets    []int // byte sets, as indices of Builder.sets
	marks   marks // the same as bits
	min     int   // least length
	ids     []int // who has this condition
}

// word is a literal and whether it is looked for in the text without its filler.
type word struct {
	text string
	bare bool
}

// Add takes a condition and says by which id Scan will report it. Ids count from 0. The same condition may be added
// again: it gets its own id, and costs nothing more.
func (b *Builder) Add(c Condition) (id int) {
	if b.known == nil {
		b.known, b.clauses = map[string]int{}, map[string]uint32{}
	}
	id = len(b.ids)
	spelled := fmt.Sprintf("%q %q %x %d", c.Clauses, c.Bare, c.Bytes, c.Min)
	p, ok := b.known[spelled]
	if !ok {
		p = len(b.patterns)
		b.known[spelled] = p
		b.patterns = append(b.patterns, b.compile(c, uint32(p)))
	}
	b.ids = append(b.ids, p)
	b.patterns[p].ids = append(b.patterns[p].ids, id)
	return id
}

// compile makes a pattern of a condition.
func (b *Builder) compile(c Condition, p uint32) pattern {
	out := pattern{min: c.Min}
	needed := map[uint32]bool{}
	for _, clause := range c.Clauses {
		b.need(needed, clause, false)
	}
	for _, clause := range c.Bare {
		b.need(needed, clause, true)
	}
	for n := range needed {
		b.wanted[n] = append(b.wanted[n], p)
	}
	out.clauses = len(needed)
	for _, set := range c.Bytes {
		i := slices.Index(b.sets, set)
		if i < 0 {
			i = len(b.sets)
			b.sets = append(b.sets, set)
		}
		if !slices.Contains(out.sets, i) {
			out.sets = append(out.sets, i)
		}
	}
	return out
}

// need notes that a pattern needs a clause. A clause that holds an empty literal is always met; one without literals is
// taken for no clause, for a mistake must not hide a pattern.
func (b *Builder) need(needed map[uint32]bool, clause []string, bare bool) {
	if len(clause) == 0 || slices.Contains(clause, "") {
		return
	}
	spelled := fmt.Sprint(bare) + "\x00" + strings.Join(clause, "\x00")
	n, ok := b.clauses[spelled]
	if !ok {
		n = uint32(len(b.words))
		b.clauses[spelled] = n
		var words []word
		for _, text := range clause {
			words = append(words, word{settle(Fold(text)), bare})
		}
		b.words, b.wanted = append(b.words, words), append(b.wanted, nil)
	}
	needed[n] = true
}

// Build makes the sieve of what was added so far.
func (b *Builder) Build() *Sieve {
	s := &Sieve{ids: len(b.ids), wanted: make([][]uint32, len(b.words))}
	b.mark(s)
	s.patterns = make([]judged, len(b.patterns))
	for i, p := range b.patterns {
		s.patterns[i] = judged{need: uint32(p.clauses), min: p.min, marks: p.marks, ids: p.ids}
		if p.clauses == 0 {
			s.loose(uint32(i), p.marks)
		}
	}
	for i, wanted := range b.wanted {
		s.wanted[i] = slices.Clone(wanted)
	}
	s.compile(b.words)
	return s
}

// mark gives the byte sets their bits, the first to that of filler. There are as many as marks has bits; what is beyond
// is not asked, which is weaker.
func (b *Builder) mark(s *Sieve) {
	bit := make([]int, len(b.sets))
	next := 1
	for _, i := range b.mostWanted() {
		bit[i] = next
		next++
	}
	for i := range b.patterns {
		p := &b.patterns[i]
		p.marks = marks{}
		for _, set := range p.sets {
			if n := bit[set]; n > 0 && n < markBits {
				p.marks[n/64] |= 1 << (n % 64)
			}
		}
	}
	for c := range 256 {
		if isFiller(byte(c)) {
			s.marks[c][0] |= fillerMark
		}
		for i, set := range b.sets {
			if n := bit[i]; n > 0 && n < markBits && set.Has(byte(c)) {
				s.marks[c][n/64] |= 1 << (n % 64)
			}
		}
	}
}

// mostWanted are the byte sets in the order in which they deserve a bit: those that keep most texts from most patterns,
// where a pattern without clauses counts most.
func (b *Builder) mostWanted() []int {
	const place = 30 // length of an ordinary text
	worth := make([]float64, len(b.sets))
	for _, p := range b.patterns {
		for k, set := range p.sets {
			w := math.Pow(1-min(oddsOf(b.sets[set]), 1), place) // share of texts without such a byte
			if p.clauses > 0 {
				w /= 10
			}
			worth[set] += w / float64(k+1)
		}
	}
	order := make([]int, len(b.sets))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(worth[y], worth[x]) })
	return order
}
