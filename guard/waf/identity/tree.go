package identity

// Func is a transformation as the engine has it (plugintypes.Transformation): the new text, whether it says it changed
// anything, and an error, upon which the input is kept.
type Func = func(string) (string, bool, error)

// Tree holds lists of transformations by their shared beginnings. It is never changed and may be used by many at once.
// Make it with [NewTree].
type Tree struct {
	nodes  []node
	chains []chain
}

// node is one transformation after those that lead to it.
type node struct {
	do    Func
	needs Traits
}

// chain is a list of transformations as a way through the tree.
type chain struct {
	nodes []int
	needs []Traits // at each step, of all the transformations from there on
}

// NewTree builds the tree of the lists. The function for each name comes from funcs, which is asked once for each place in
// the tree; it is the engine's own. A name without a function is a mistake of the program, and panics: a tree that left it
// out would show rules a text that they do not see. Only "none" needs none; in a rule's compiled list it does nothing.
func NewTree(chains [][]string, funcs func(name string) Func) *Tree {
	t := new(Tree)
	type edge struct {
		from int
		name string
	}
	known := make(map[edge]int)
	for _, names := range chains {
		at, c := -1, chain{}
		for _, name := range names {
			key := canonical(name)
			if key == "none" {
				continue
			}
			next, ok := known[edge{at, key}]
			if !ok {
				next = len(t.nodes)
				known[edge{at, key}] = next
				t.nodes = append(t.nodes, newNode(name, funcs))
			}
			c.nodes, at = append(c.nodes, next), next
		}
		c.needs = make([]Traits, len(c.nodes))
		var after Traits
		for i := len(c.nodes) - 1; i >= 0; i-- {
			after |= t.nodes[c.nodes[i]].needs
			c.needs[i] = after
		}
		t.chains = append(t.chains, c)
	}
	return t
}

func newNode(name string, funcs func(name string) Func) node {
	do := funcs(name)
	if do == nil {
		panic("identity: no function for the transformation " + name)
	}
	needs, _ := Needs(name)
	return node{do, needs}
}

// Apply gives the text that a rule with list i sees: exactly what the engine would show to its operator. The traits are
// those of the text, by [Of]. A text that comes out unchanged is the very string that went in. Shared beginnings are
// transformed once as long as the same work is handed in.
func (t *Tree) Apply(text string, traits Traits, i int, w *Work) string {
	return t.run(text, traits, i, w, 0)
}

// ApplyFolded gives a text that is, up to ASCII case, the one that a rule with list i sees. It is for those whose next step
// folds ASCII case: it does without transformations that could only change the case from there on. Lists that end alike
// but for lowercase then give the very same string, which needs to be read only once.
func (t *Tree) ApplyFolded(text string, traits Traits, i int, w *Work) string {
	return t.run(text, traits, i, w, Case)
}

func (t *Tree) run(text string, traits Traits, i int, w *Work, ignore Traits) string {
	w.begin(t, text)
	at := value{text, traits}
	c := &t.chains[i]
	for k, n := range c.nodes {
		if at.traits&c.needs[k]&^ignore == 0 {
			return at.text
		}
		if !w.plain[n].done {
			w.plain[n] = result{value: t.nodes[n].apply(at, false), done: true}
			w.used = append(w.used, n)
		}
		at = w.plain[n].value
	}
	return at.text
}

// ApplyAll appends to list the texts that a rule with list i and multiMatch sees, the text itself first, in the engine's
// order and each once. The engine goes on from a new text only where the transformation says that it changed something.
// Not all say so: htmlEntityDecode is silent when the length stays, removeWhitespace when it only mended what is not UTF-8.
// So the last of them need not be what Apply gives.
func (t *Tree) ApplyAll(text string, traits Traits, i int, w *Work, list []string) []string {
	w.begin(t, text)
	start := len(list)
	list = append(list, text)
	at := value{text, traits}
	c := &t.chains[i]
	for k, n := range c.nodes {
		if at.traits&c.needs[k] == 0 {
			break
		}
		if !w.multi[n].done {
			w.multi[n] = result{value: t.nodes[n].apply(at, true), done: true}
			w.used = append(w.used, n)
		}
		at = w.multi[n].value
		if !contains(list[start:], at.text) {
			list = append(list, at.text)
		}
	}
	return list
}

func contains(list []string, text string) bool {
	for i := len(list) - 1; i >= 0; i-- { // the last one is the likeliest, and the very same string
		if list[i] == text {
			return true
		}
	}
	return false
}

// apply transforms one text. What the engine keeps, is kept: the input where the function errs, and, if only what is said
// to be changed counts, where it does not say so.
func (n *node) apply(in value, said bool) value {
	if in.traits&n.needs == 0 {
		return in
	}
	text, changed, err := n.do(in.text)
	if err != nil || said && !changed || text == in.text {
		return in
	}
	return value{text, Of(text)}
}

// value is a text and its traits.
type value struct {
	text   string
	traits Traits
}

type result struct {
	value
	done bool
}

// Work remembers what one text became at each place of a tree. The zero Work is ready; it grows once to the size of the
// tree. It notices by itself when another text or tree is handed in, and forgets then. But the bytes of a text it was given
// must stay as they are until Reset: a string over a buffer that is used again would pass for the text before. Not for use
// by two at once.
type Work struct {
	tree  *Tree
	text  string
	plain []result
	multi []result
	used  []int // nodes with a result in plain or multi
}

// Reset forgets all texts, so that a Work that is kept does not keep them.
func (w *Work) Reset() {
	for _, n := range w.used {
		w.plain[n], w.multi[n] = result{}, result{}
	}
	w.used, w.text = w.used[:0], ""
}

// begin makes sure that what is remembered belongs to this text. A result of another text would be a judgement on it.
func (w *Work) begin(t *Tree, text string) {
	if w.tree == t && w.text == text { // compared by address first, so this costs little
		return
	}
	w.Reset()
	if w.tree != t {
		w.tree = t
		w.plain, w.multi = make([]result, len(t.nodes)), make([]result, len(t.nodes))
	}
	w.text = text
}
