package confine

import "strings"

// keys finds by its key what is known of a value: an automaton over the tokens between the dots of the key.
type keys struct{ start *state }

// state is where a key has led so far.
type state struct {
	texts  texts // of the values with this key
	plains texts // of those that are no number written otherwise than as a plain integer
	names  texts // the key itself, and others that lead here
	demand demand
	values *Mask
	plain  *Mask // instead of values, when the text is an integer in its plain form
	called *Mask // rules that can't match the key
	sinks  *Mask
	next   map[string]*state
	index  *state // a position in a list, if it is not in next
	other  *state // any other token
}

// mostStates bounds one automaton.
const mostStates = 2_000

// at gives the state of a key; nil when no value has it.
func (k *keys) at(key string) *state {
	s := k.start
	for s != nil {
		token, rest, more := strings.Cut(key, ".")
		n := s.next[token]
		switch {
		case n != nil:
		case isIndex(token) && s.index != nil:
			n = s.index
		default:
			n = s.other
		}
		if s = n; !more {
			break
		}
		key = rest
	}
	return s
}

// mapper makes automata out of demands.
type mapper struct {
	b      *builder
	states map[demand]*state
	order  []*state
}

// build makes the automaton of all keys that begin at a demand.
func (b *builder) build(start demand) *keys {
	m := &mapper{b: b, states: map[demand]*state{}}
	k := &keys{m.state(start)}
	for i := 0; i < len(m.order); i++ {
		m.link(m.order[i])
	}
	k.start.names = none()
	m.callThem(k.start)
	return k
}

// state gives the state of a demand, nil for the impossible.
func (m *mapper) state(d demand) *state {
	if d == noValue {
		return nil
	}
	if len(m.order) >= mostStates || m.b.full {
		d = anyValue
	}
	if s := m.states[d]; s != nil {
		return s
	}
	f := m.b.of(d)
	s := &state{demand: d, texts: f.all()}
	f.numbers = f.plain
	s.plains = f.all()
	m.states[d] = s
	m.order = append(m.order, s)
	return s
}

func (m *mapper) link(s *state) {
	found := map[string]bool{}
	m.b.tokens(s.demand, found)
	s.next = make(map[string]*state, len(found))
	for token := range found {
		s.next[token] = m.state(m.b.step(s.demand, token, false))
	}
	s.index = m.state(m.b.step(s.demand, "0", true))
	s.other = m.state(m.b.step(s.demand, "", true))
}

// callThem finds the names that lead to each state. A name that grows on a circle is taken to have any length.
func (m *mapper) callThem(start *state) {
	visits := map[*state]int{}
	waiting := []*state{start}
	for len(waiting) > 0 {
		s := waiting[0]
		waiting = waiting[1:]
		tell := func(n *state, token texts) {
			if n == nil || n.names.any {
				return
			}
			if s != start {
				token = concat(concat(s.names, listed(".")), token)
			}
			if s.names.any {
				token = anyText()
			}
			sum := join(n.names, token)
			if fingerprint(sum) == fingerprint(n.names) && sum.any == n.names.any {
				return
			}
			if visits[n]++; visits[n] > 8 {
				sum = anyText()
			}
			n.names = sum
			waiting = append(waiting, n)
		}
		for token, n := range s.next {
			tell(n, listed(token))
		}
		tell(s.index, shaped("", theDigits))
		tell(s.other, anyText())
	}
}
