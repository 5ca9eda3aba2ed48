package literal

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// automaton looks for all literals at once: Aho and Corasick's, with each step spelled out in a table. A state is the
// place in the table where its row begins. Rows that end a literal come last, so that one comparison tells them.
type automaton struct {
	classes [256]uint32 // column of each byte, folded; bytes that no literal holds share column 1
	width   uint32      // of a row
	table   []uint32    // rows; column 0 of a row that ends a literal is its place in ends
	accept  uint32      // from here on states end a literal
	reach   int         // length of the longest literal but one byte
	start   uint32      // where reading begins
	ends    []ends
}

// ends are the clauses that the literals ending in a state belong to.
type ends struct {
	plain, bare []uint32
}

// read runs over the text, notes each clause that is met, and says which bytes the text holds.
func (s *Sieve) read(text string, w *Work) ByteSet {
	var held ByteSet
	table, accept, state := s.table, s.accept, s.start
	for i := 0; i < len(text); i++ {
		c := text[i]
		held[c>>6] |= 1 << (c & 63)
		class := s.classes[c]
		if c >= longS[0] {
			f, n := folded(text, i)
			if class = s.classes[f]; n > 1 {
				held = held.union(Of(text[i : i+n]))
				i += n - 1
			}
		}
		state = table[state+class]
		if state >= accept {
			s.end(state, w)
		}
	}
	if state = table[state+s.classes[brink[0]]]; state >= accept {
		s.end(state, w)
	}
	return held
}

// end notes the clauses of the literals that end in a state. Each state is asked once in a scan, so that a text which
// repeats a literal costs no more than another. What stands in the text without filler in between stands in the bare
// text too.
func (s *Sieve) end(state uint32, w *Work) {
	if e := s.table[state]; w.plainEnds[e] != w.scan {
		w.plainEnds[e] = w.scan
		s.meet(s.ends[e].plain, w)
		s.meet(s.ends[e].bare, w)
	}
}

// readBare notes the clauses over the bare text that were not found yet: their literals stand across filler, so that only
// what is near to filler is read again.
func (s *Sieve) readBare(text string, w *Work) {
	done, state := 0, s.start // text[:done] was read and led to the state
	for i := 0; i < len(text); i++ {
		if !isFiller(text[i]) {
			continue
		}
		if from := s.before(text, i, done); from > done {
			done, state = from, 0
		}
		done, state = s.across(text, done, state, w)
		i = done - 1
	}
}

// before is where to begin so that any literal across the filler at i is read whole, but not before done. Bytes beyond
// ASCII, of which up to three fold to one, don't count.
func (s *Sieve) before(text string, i, done int) int {
	for n := 0; i > done && n < s.reach; i-- {
		if c := text[i-1]; c < utf8.RuneSelf && !isFiller(c) {
			n++
		}
	}
	return i
}

// across reads the bare text from i until filler lies further behind than a literal is long.
func (s *Sieve) across(text string, i int, state uint32, w *Work) (int, uint32) {
	left := len(text) // how far to read yet
	for i < len(text) {
		if isFiller(text[i]) {
			left = s.reach
			i++
			continue
		}
		if left == 0 {
			return i, state
		}
		left--
		c, n := folded(text, i)
		i += n
		state = s.stepBare(state, c, w)
	}
	return i, s.stepBare(state, brink[0], w)
}

// stepBare reads one byte of the bare text.
func (s *Sieve) stepBare(state uint32, c byte, w *Work) uint32 {
	state = s.table[state+s.classes[c]]
	if state >= s.accept {
		if e := s.table[state]; w.bareEnds[e] != w.scan {
			w.bareEnds[e] = w.scan
			s.meet(s.ends[e].bare, w)
		}
	}
	return state
}

// node is a state while the automaton is built.
type node struct {
	next map[byte]int32
	fail int32
	ends ends
}

// compile builds the automaton of the clauses' literals.
func (a *automaton) compile(clauses [][]word) {
	nodes := []node{{}}
	for i, words := range clauses {
		for _, w := range words {
			nodes = insert(nodes, w, uint32(i))
			a.reach = max(a.reach, len(w.text)-1)
		}
	}
	a.columns(nodes)
	order := link(nodes)
	a.fill(nodes, order)
}

// insert adds a literal to the tree.
func insert(nodes []node, w word, clause uint32) []node {
	at, text := int32(0), w.text
	for i := 0; i < len(text); i++ {
		next, ok := nodes[at].next[text[i]]
		if !ok {
			next = int32(len(nodes))
			nodes = append(nodes, node{})
			if nodes[at].next == nil {
				nodes[at].next = map[byte]int32{}
			}
			nodes[at].next[text[i]] = next
		}
		at = next
	}
	if w.bare {
		nodes[at].ends.bare = append(nodes[at].ends.bare, clause)
	} else {
		nodes[at].ends.plain = append(nodes[at].ends.plain, clause)
	}
	return nodes
}

// columns gives each byte that a literal holds a column. Capitals share that of their small letters, white space that of
// the line feed (see Fold). The most common bytes stand together, so that a row has most of its traffic in one line of the
// processor's cache.
func (a *automaton) columns(nodes []node) {
	var used []byte
	var is [256]bool
	for _, n := range nodes {
		for c := range n.next {
			if !is[c] {
				is[c] = true
				used = append(used, c)
			}
		}
	}
	slices.SortFunc(used, func(x, y byte) int {
		return cmp.Or(cmp.Compare(odds(string([]byte{y})), odds(string([]byte{x}))), cmp.Compare(x, y))
	})
	for c := range a.classes {
		a.classes[c] = 1
	}
	for i, c := range used {
		a.classes[c] = uint32(i + 2)
	}
	const line = 16 // columns in a line of cache
	a.width = (uint32(len(used)) + 2 + line - 1) / line * line
	for c := 'A'; c <= 'Z'; c++ {
		a.classes[c] = a.classes[c+'a'-'A']
	}
	for c := '\t'; c <= '\r'; c++ {
		a.classes[c] = a.classes['\n']
	}
}

// link sets the fall-back of each node, in order of depth, and lets it inherit the clauses that end there.
func link(nodes []node) []int32 {
	order := []int32{0}
	for head := 0; head < len(order); head++ {
		at := order[head]
		for c, child := range nodes[at].next {
			fail := int32(0)
			if at != 0 {
				fail = nodes[at].fail
				for {
					if next, ok := nodes[fail].next[c]; ok {
						fail = next
						break
					}
					if fail == 0 {
						break
					}
					fail = nodes[fail].fail
				}
			}
			nodes[child].fail = fail
			nodes[child].ends.plain = both(nodes[child].ends.plain, nodes[fail].ends.plain)
			nodes[child].ends.bare = both(nodes[child].ends.bare, nodes[fail].ends.bare)
			order = append(order, child)
		}
	}
	return order
}

// both is the union of two lists of clauses.
func both(a, b []uint32) []uint32 {
	if len(b) == 0 {
		return a
	}
	a = append(a, b...)
	slices.Sort(a)
	return slices.Compact(a)
}

// none says whether nothing ends.
func (e ends) none() bool { return len(e.plain) == 0 && len(e.bare) == 0 }

// fill writes the table: first the rows of states that end nothing, shallow ones first, then the others.
func (a *automaton) fill(nodes []node, order []int32) {
	place := make([]uint32, len(nodes))
	row := uint32(0)
	for _, at := range order {
		if nodes[at].ends.none() {
			place[at] = row
			row += a.width
		}
	}
	a.accept = row
	for _, at := range order {
		if !nodes[at].ends.none() {
			place[at] = row
			row += a.width
			a.ends = append(a.ends, nodes[at].ends)
		}
	}
	a.table = make([]uint32, row)
	for _, at := range order {
		to := a.table[place[at] : place[at]+a.width]
		if at != 0 {
			fall := place[nodes[at].fail]
			copy(to, a.table[fall:fall+a.width])
		}
		for c, child := range nodes[at].next {
			to[a.classes[c]] = place[child]
		}
		if to[0] = 0; !nodes[at].ends.none() {
			to[0] = (place[at] - a.accept) / a.width
		}
	}
	a.start = a.table[place[0]+a.classes[brink[0]]]
}
