package identity

// Work remembers what one text became. The zero Work is ready and grows with what it is used for. It notices by itself when
// another text or tree is handed in, and forgets then. But the bytes of a text it was given must stay as they are until
// Reset: a string over a buffer that is used again would pass for the text before. Not for use by two at once.
type Work struct {
	tree   *Tree
	values []value // the text and what it became, each once
	next   []next  // for each value and each step of the tree
}

// value is a text and its traits.
type value struct {
	text   string
	traits Traits
}

// next is what a step makes of a value: the numbers of the values.
type next struct {
	is   int // what it gives
	said int // what it gives if only what is said to be changed counts
	done bool
}

// Text is the text with that number.
func (w *Work) Text(number int) string { return w.values[number].text }

// Traits are the traits of the text with that number.
func (w *Work) Traits(number int) Traits { return w.values[number].traits }

// Len is how many texts there are so far. The numbers are below it.
func (w *Work) Len() int { return len(w.values) }

// Reset forgets all texts, so that a Work that is kept does not keep them.
func (w *Work) Reset() {
	clear(w.values)
	w.tree, w.values, w.next = nil, w.values[:0], w.next[:0]
}

// begin makes sure that what is remembered belongs to this text. A result of another text would be a judgement on it.
func (w *Work) begin(t *Tree, text string, traits Traits) {
	if w.tree == t && w.values[0].text == text { // compared by address first, so this costs little
		return
	}
	w.Reset()
	w.tree = t
	w.add(value{text, traits})
}

// after gives what a step makes of a value. What the engine keeps, is kept: the input where the function errs, and, if only
// what is said to be changed counts, where it does not say so.
func (w *Work) after(at, n int) next {
	place := at*len(w.tree.steps) + n
	if w.next[place].done {
		return w.next[place]
	}
	in, s := w.values[at], &w.tree.steps[n]
	to := next{is: at, said: at, done: true}
	if in.traits&s.needs != 0 {
		if text, changed, err := s.do(in.text); err == nil && text != in.text {
			if to.is = w.number(text); changed {
				to.said = to.is
			}
		}
	}
	w.next[place] = to
	return to
}

// number finds a text among the values, or adds it.
func (w *Work) number(text string) int {
	for i := range w.values {
		if w.values[i].text == text {
			return i
		}
	}
	w.add(value{text, Of(text)})
	return len(w.values) - 1
}

// add takes in a value of which nothing is known yet.
func (w *Work) add(v value) {
	w.values = append(w.values, v)
	for range w.tree.steps {
		w.next = append(w.next, next{})
	}
}
