package identity

// Func is a transformation as the engine has it (plugintypes.Transformation): the new text, whether it says it changed
// anything, and an error, upon which the input is kept.
type Func = func(string) (string, bool, error)

// Tree holds lists of transformations. Its trunk is a text, its branches are what the text becomes; lists that begin alike
// share a branch, and so do those that come to the same text on different ways. It is never changed and may be used by many
// at once. Make it with [NewTree].
type Tree struct {
	steps  []step
	chains []chain
}

// step is one transformation.
type step struct {
	do    Func
	needs Traits
}

// chain is a list of transformations.
type chain struct {
	steps []int    // where they are in Tree.steps
	needs []Traits // for each step, of all the transformations from there on
}

// NewTree takes in the lists. The function for each name comes from funcs, which is asked once for each name; it is the
// engine's own. A name without a function is a mistake of the program, and panics: a tree that left it out would show rules
// a text that they do not see. Only "none" needs no function; in the compiled list of a rule it does nothing.
func NewTree(chains [][]string, funcs func(name string) Func) *Tree {
	t := new(Tree)
	known := make(map[string]int)
	for _, names := range chains {
		var c chain
		for _, name := range names {
			key := canonical(name)
			if key == "none" {
				continue
			}
			n, ok := known[key]
			if !ok {
				n = len(t.steps)
				known[key] = n
				t.steps = append(t.steps, newStep(name, funcs))
			}
			c.steps = append(c.steps, n)
		}
		c.needs = make([]Traits, len(c.steps))
		var after Traits
		for i := len(c.steps) - 1; i >= 0; i-- {
			after |= t.steps[c.steps[i]].needs
			c.needs[i] = after
		}
		t.chains = append(t.chains, c)
	}
	return t
}

func newStep(name string, funcs func(name string) Func) step {
	do := funcs(name)
	if do == nil {
		panic("identity: no function for the transformation " + name)
	}
	needs, _ := Needs(name)
	return step{do, needs}
}

// Apply gives the text that a rule with list i sees: exactly what the engine would show to its operator. The traits are
// those of the text, by [Of]. A text that comes out unchanged is the very string that went in, and equal results for the
// same work are the same string.
func (t *Tree) Apply(text string, traits Traits, i int, w *Work) string {
	w.begin(t, text, traits)
	return w.values[t.walk(i, w, 0)].text
}

// ApplyFolded gives a text that is, up to ASCII case, the one that a rule with list i sees. It is for those whose next step
// folds ASCII case: it does without transformations that could only change the case from there on. Lists that end alike
// but for lowercase then give the very same string, which needs to be read only once.
func (t *Tree) ApplyFolded(text string, traits Traits, i int, w *Work) string {
	return w.Text(t.Reach(text, traits, i, w))
}

// Reach is [Tree.ApplyFolded] for those who read each of the texts only once: it gives the number of the text within the
// work, by which [Work.Text] and [Work.Traits] have it. Number 0 is the text itself; equal texts have equal numbers, which
// are small and hold until the work is used for another text.
func (t *Tree) Reach(text string, traits Traits, i int, w *Work) int {
	w.begin(t, text, traits)
	return t.walk(i, w, Case)
}

// ApplyAll appends to list the texts that a rule with list i and multiMatch sees, the text itself first, in the engine's
// order and each once. The engine goes on from a new text only where the transformation says that it changed something.
// Not all say so: htmlEntityDecode is silent when the length stays, removeWhitespace when it only mended what is not UTF-8.
// So the last of them need not be what Apply gives.
func (t *Tree) ApplyAll(text string, traits Traits, i int, w *Work, list []string) []string {
	w.begin(t, text, traits)
	start := len(list)
	list = append(list, text)
	at, c := 0, &t.chains[i]
	for k, n := range c.steps {
		if w.values[at].traits&c.needs[k] == 0 {
			break
		}
		at = w.after(at, n).said
		if to := w.values[at].text; !contains(list[start:], to) {
			list = append(list, to)
		}
	}
	return list
}

// walk goes the way of a list, and stops where the rest of it could change nothing but what is to be ignored.
func (t *Tree) walk(i int, w *Work, ignore Traits) int {
	at, c := 0, &t.chains[i]
	for k, n := range c.steps {
		if w.values[at].traits&c.needs[k]&^ignore == 0 {
			break
		}
		at = w.after(at, n).is
	}
	return at
}

func contains(list []string, text string) bool {
	for i := len(list) - 1; i >= 0; i-- { // the last one is the likeliest, and the very same string
		if list[i] == text {
			return true
		}
	}
	return false
}
