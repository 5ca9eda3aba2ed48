package literal

import (
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
	wanted   [][]uint32        // of each clause, the patterns that need it
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
		b.patterns = append(b.patterns, b.compile(c, uint32(p)))
	}
	b.patterns[p].ids = append(b.patterns[p].ids, id)
	return id
}

// compile makes a pattern of a condition.
func (b *Builder) compile(c Condition, p uint32) judged {
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
	return judged{need: uint32(len(needed)), min: c.Min, sets: slices.Clone(c.Bytes)}
}

// need notes that a pattern needs a clause. A clause that holds an empty literal or the brink of the text is always met;
// one without literals is taken for no clause, for a mistake must not hide a pattern.
func (b *Builder) need(needed map[uint32]bool, clause []string, bare bool) {
	words := make([]word, 0, len(clause))
	for _, text := range clause {
		text = settle(Fold(text))
		if text == "" || text == brink {
			return
		}
		words = append(words, word{text, bare})
	}
	if len(words) == 0 {
		return
	}
	spelled := fmt.Sprint(bare) + "\x00" + strings.Join(clause, "\x00")
	n, ok := b.clauses[spelled]
	if !ok {
		n = uint32(len(b.words))
		b.clauses[spelled] = n
		b.words, b.wanted = append(b.words, words), append(b.wanted, nil)
	}
	needed[n] = true
}

// Build makes the sieve of what was added so far.
func (b *Builder) Build() *Sieve {
	s := &Sieve{ids: b.ids}
	for i, p := range b.patterns {
		p.ids = slices.Clone(p.ids)
		s.patterns = append(s.patterns, p)
		if p.need == 0 {
			s.loose = append(s.loose, uint32(i))
		}
	}
	for _, wanted := range b.wanted {
		s.wanted = append(s.wanted, slices.Clone(wanted))
	}
	long := make([][]word, len(b.words))
	for i, words := range b.words {
		for _, w := range words {
			if len(w.text) > 1 {
				long[i] = append(long[i], w)
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
			s.single[raw] = append(s.single[raw], clause)
		}
	}
}
