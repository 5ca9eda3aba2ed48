package literal

import "slices"

// automaton looks for all literals at once: Aho and Corasick's, with each step spelled out in a table. A state is the
// place in the table where its row begins. Rows that end a literal come last, so that one comparison tells them.
type automaton struct {
	classes [256]uint32 // column of each byte, folded; bytes that no literal holds share column 0
	width   uint32      // of a row
	table   []uint32
	accept  uint32   // from here on states end a literal
	start   uint32   // where reading begins
	from    []uint32 // of each accepting state, where its clauses begin in ends; one more at the end
	ends    []uint32 // clauses that the literals ending here belong to
}

// accepting is the number of states that end a literal.
func (a *automaton) accepting() int { return max(len(a.from)-1, 0) }

// read runs over the text, notes each clause that is met, and says which byte sets the text holds a byte of.
func (s *Sieve) read(text string, w *Work) marks {
	var held marks
	state, table, accept := s.start, s.table, s.accept
	for i := 0; i < len(text); i++ {
		c := text[i]
		m := &s.marks[c]
		held[0] |= m[0]
		held[1] |= m[1]
		class := s.classes[c]
		if c >= longS[0] {
			f, n := folded(text, i)
			for ; n > 1; n-- {
				i++
				m := &s.marks[text[i]]
				held[0] |= m[0]
				held[1] |= m[1]
			}
			class = s.classes[f]
		}
		state = table[state+class]
		if state >= accept {
			s.end(state, w)
		}
	}
	return held
}

// end notes the clauses of the literals that end in a state. Each state is asked once in a scan, so that a text which
// repeats a literal costs no more than another.
func (s *Sieve) end(state uint32, w *Work) {
	n := (state - s.accept) / s.width
	if w.ends[n] == w.scan {
		return
	}
	w.ends[n] = w.scan
	for _, clause := range s.ends[s.from[n]:s.from[n+1]] {
		s.meet(clause, w)
	}
}

// node is a state while the automaton is built.
type node struct {
	next map[byte]int32
	fail int32
	ends []uint32
}

// compile builds the automaton of the clauses' literals.
func (a *automaton) compile(clauses [][]word) {
	nodes := []node{{}}
	for i, words := range clauses {
		for _, w := range words {
			nodes = insert(nodes, w.text, uint32(i))
		}
	}
	a.columns(nodes)
	order := link(nodes)
	a.fill(nodes, order)
}

// insert adds a literal to the tree.
func insert(nodes []node, text string, clause uint32) []node {
	at := int32(0)
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
	nodes[at].ends = append(nodes[at].ends, clause)
	return nodes
}

// columns gives each byte that a literal holds a column. Capitals share that of their small letters.
func (a *automaton) columns(nodes []node) {
	var used [256]bool
	for _, n := range nodes {
		for c := range n.next {
			used[c] = true
		}
	}
	a.width = 1
	for c, ok := range used {
		if ok {
			a.classes[c] = a.width
			a.width++
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.classes[c] = a.classes[c+'a'-'A']
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
			nodes[child].ends = append(nodes[child].ends, nodes[fail].ends...)
			slices.Sort(nodes[child].ends)
			nodes[child].ends = slices.Compact(nodes[child].ends)
			order = append(order, child)
		}
	}
	return order
}

// fill writes the table: first the rows of states that end nothing, shallow ones first, then the others.
func (a *automaton) fill(nodes []node, order []int32) {
	place := make([]uint32, len(nodes))
	row := uint32(0)
	for _, at := range order {
		if len(nodes[at].ends) == 0 {
			place[at] = row
			row += a.width
		}
	}
	a.accept = row
	for _, at := range order {
		if len(nodes[at].ends) > 0 {
			place[at] = row
			row += a.width
			a.from = append(a.from, uint32(len(a.ends)))
			a.ends = append(a.ends, nodes[at].ends...)
		}
	}
	a.from = append(a.from, uint32(len(a.ends)))
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
	a.start = place[0]
}
