package literal

import (
	"cmp"
	"slices"
)

// automaton looks for all literals at once: Aho and Corasick's, with each step spelled out in a table. A state is the
// place in the table where its row begins. Rows that end a literal come last, so that one comparison tells them.
type automaton struct {
	classes [256]uint32 // column of each byte, folded; bytes that no literal holds share column 0
	width   uint32      // of a row
	table   []uint32
	accept  uint32 // from here on states end a literal
	start   uint32 // where reading begins
	ends    []ends
}

// ends are the clauses that the literals ending in a state belong to.
type ends struct {
	plain, bare []uint32
}

// read runs over the text, notes each clause that is met, and says which bytes the text holds.
func (s *Sieve) read(text string, w *Work) ByteSet {
	var held ByteSet
	table, accept := s.table, s.accept
	state := s.start
	for i := 0; i < len(text); i++ {
		c := text[i]
		held[c>>6] |= 1 << (c & 63)
		class := s.classes[c]
		if c >= longS[0] {
			f, n := folded(text, i)
			if class = s.classes[f]; n > 1 { // the other bytes of the rune are in no set of ours but that of all such bytes
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

// readBare runs over the text without its filler and notes the clauses over the bare text.
func (s *Sieve) readBare(text string, w *Work) {
	state := s.start
	for i := 0; i < len(text); {
		if isFiller(text[i]) {
			i++
			continue
		}
		c, n := folded(text, i)
		i += n
		if state = s.table[state+s.classes[c]]; state >= s.accept {
			s.endBare(state, w)
		}
	}
	if state = s.table[state+s.classes[brink[0]]]; state >= s.accept {
		s.endBare(state, w)
	}
}

// endBare is end for the text without filler.
func (s *Sieve) endBare(state uint32, w *Work) {
	if e := (state - s.accept) / s.width; w.bareEnds[e] != w.scan {
		w.bareEnds[e] = w.scan
		s.meet(s.ends[e].bare, w)
	}
}

// end notes the clauses of the literals that end in a state. Each state is asked once in a scan, so that a text which
// repeats a literal costs no more than another.
func (s *Sieve) end(state uint32, w *Work) {
	e := (state - s.accept) / s.width
	if w.plainEnds[e] == w.scan {
		return
	}
	w.plainEnds[e] = w.scan
	w.touched = append(w.touched, e)
	s.meet(s.ends[e].plain, w)
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
	for i, c := range used {
		a.classes[c] = uint32(i + 1)
	}
	const line = 16 // columns in a line of cache
	a.width = (uint32(len(used)) + 1 + line - 1) / line * line
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
	}
	a.start = a.table[place[0]+a.classes[brink[0]]]
}
