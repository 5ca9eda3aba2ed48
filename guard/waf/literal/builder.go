package literal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Builder collects conditions for a Sieve. The zero Builder is ready.
type Builder struct {
	ids      int
	patterns []judged          // conditions that differ
	known    map[string]int    // patterns by their spelling
	clauses  map[string]uint32 // clauses by their spelling
	words    [][]word          // of each clause, its literals
	odds     []float64         // of each clause
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
	id = b.ids
	b.ids++
	spelled := fmt.Sprintf("%q %q %x %d", c.Clauses, c.Bare, c.Bytes, c.Min)
	p, ok := b.known[spelled]
	if !ok {
		p = len(b.patterns)
		b.known[spelled] = p
		b.patterns = append(b.patterns, b.compile(c))
	}
	b.patterns[p].ids = append(b.patterns[p].ids, id)
	return id
}

// compile makes a pattern of a condition.
func (b *Builder) compile(c Condition) judged {
	p := judged{min: c.Min, sets: slices.Clone(c.Bytes)}
	for _, clause := range c.Clauses {
		p.clauses = b.need(p.clauses, clause, false)
	}
	for _, clause := range c.Bare {
		p.clauses = b.need(p.clauses, clause, true)
	}
	slices.SortFunc(p.clauses, func(x, y uint32) int { return cmp.Compare(b.odds[x], b.odds[y]) })
	return p
}

// need adds a clause to those that a pattern needs. A clause that holds an empty literal or the brink of the text is
// always met; one without literals is taken for no clause, for a mistake must not hide a pattern.
func (b *Builder) need(needed []uint32, clause []string, bare bool) []uint32 {
	words := make([]word, 0, len(clause))
	total := 0.0
	for _, text := range clause {
		text = settle(Fold(text))
		if text == "" || text == brink {
			return needed
		}
		words = append(words, word{text, bare})
		total += odds(text)
	}
	if len(words) == 0 {
		return needed
	}
	spelled := fmt.Sprint(bare) + "\x00" + strings.Join(clause, "\x00")
	n, ok := b.clauses[spelled]
	if !ok {
		n = uint32(len(b.words))
		b.clauses[spelled] = n
		b.words, b.odds = append(b.words, words), append(b.odds, total)
	}
	return append(needed, n)
}

// Build makes the sieve of what was added so far.
func (b *Builder) Build() *Sieve {
	s := &Sieve{ids: b.ids, keyOf: make([][]uint32, len(b.words)), alone: make([]ByteSet, len(b.words))}
	for i, p := range b.patterns {
		p.ids = slices.Clone(p.ids)
		s.patterns = append(s.patterns, p)
		if len(p.clauses) == 0 {
			s.file(uint32(i), p)
			continue
		}
		s.keyOf[p.clauses[0]] = append(s.keyOf[p.clauses[0]], uint32(i))
	}
	long := make([][]word, len(b.words))
	for i, words := range b.words {
		for _, w := range words {
			if len(w.text) > 1 {
				long[i], s.bare = append(long[i], w), s.bare || w.bare
				continue
			}
			s.meetsAlone(w.text[0], uint32(i))
		}
	}
	s.compile(long)
	return s
}

// meetsAlone notes that a folded byte meets a clause, under each byte of a text that may fold to it. Such a byte is never
// filler in a clause over the bare text, so that the text may be asked as it is.
func (s *Sieve) meetsAlone(c byte, clause uint32) {
	for raw := range 256 {
		folds := Fold(string([]byte{byte(raw)})) == string([]byte{c})
		if folds || c == 's' && byte(raw) == longS[0] || c == 'k' && byte(raw) == kelvin[0] {
			s.alone[clause].Add(byte(raw))
			if len(s.keyOf[clause]) > 0 {
				s.keys[raw] = append(s.keys[raw], clause)
			}
		}
	}
}
