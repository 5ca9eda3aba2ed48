// Package view is what the rules can read of one request: the value of every variable of the rule language, built once
// from the canonical request and the one parsed body, and never from a second reading of the bytes. A firewall that
// parses for itself sees another request than the server behind it sooner or later, and what lies between the two is
// where attacks go through (adversary rows G2 to G15).
//
// The same view is read by the prefilter and fed to the rule engine, so that both judge the same values: Of says what a
// rule of phase 2 reads, Head what a rule of phase 1 reads, FeedHead and FeedBody hand exactly that to a transaction of
// Coraza 3.8.1, which then has nothing left to parse. Names, order within a name, limits and the odd places (a JSON array
// counts as its length, null as "") are Coraza's; where its readers lose something, the view keeps it, and README.md says
// where.
package view

import (
	"strconv"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Pair is one value of a variable: what a rule's operator reads, and the key under which it stands. The key is spelled as
// the client spelled it, and rules select by strings.ToLower of it; the value of a single has none. What reads names
// (ARGS_NAMES, REQUEST_HEADERS_NAMES, ...) has the name both as key and as text, once per value.
type Pair struct{ Key, Text string }

// View is what the rules read of one request. The zero View is ready for Fill; it belongs to one goroutine, and what it
// hands out is valid until the next Fill or Reset. Keep views in a pool: they reuse their memory.
type View struct {
	single  [count]Pair   // by variable, of those that have one value
	list    [count][]Pair // by variable, of those that have any number
	args    arguments
	head    phaseOne
	json    flattener
	tree    *body.Tree
	tooMany bool
}

// arguments are the values of ARGS in one slice: those of the query, of the path, of the body. Each has its name beside
// it, as ARGS_NAMES has it.
type arguments struct {
	pairs, names []Pair
	path, post   int // where those of the path and of the body begin
}

// phaseOne is what singles hold in phase 1 that change in phase 2.
type phaseOne struct{ combined, limit [1]Pair }

// keep is up to how many values a view keeps room for between requests: 64 KiB for each collection.
const keep = 2048

// Reset forgets the request, so that a view that waits in a pool holds nobody's data.
func (v *View) Reset() {
	for _, i := range windows {
		v.list[i] = nil
	}
	for i := range v.list {
		if len(v.list[i]) > 0 {
			v.list[i] = emptied(v.list[i])
		}
	}
	v.single = blank
	v.args = arguments{pairs: emptied(v.args.pairs), names: emptied(v.args.names)}
	v.json.reset()
	v.keepHead()
	v.tree, v.tooMany = nil, false
}

func emptied(pairs []Pair) []Pair {
	if cap(pairs) > keep {
		return nil
	}
	clear(pairs)
	return pairs[:0]
}

// Fill reads the exchange, which has its operation, and the tree of its body; a body that is not inspected comes as an
// empty tree or nil.
func (v *View) Fill(x *gate.Exchange, tree *body.Tree) {
	if tree == nil {
		tree = &body.Tree{}
	}
	v.Reset()
	v.tree = tree
	v.fillLine(x)
	v.fillArguments(x)
	v.fillFields(x.Request, tree)
	v.single[variables.ReqbodyProcessor].Text = processor(x, tree)
	v.sum()
	v.keepHead()
	v.fillBody(x, tree)
	v.sum()
	v.show()
}

// Of gives what a rule of phase 2 reads of a variable: all values of a collection, in the order of the request, or the one
// value of a single. It is nil for an empty collection and for what is not the request's, for which Phase says 0.
func (v *View) Of(variable variables.RuleVariable) []Pair {
	switch {
	case int(variable) >= count:
		return nil
	case traits[variable].single:
		return v.single[variable : variable+1]
	}
	return v.list[variable]
}

// Head gives what a rule of phase 1 reads of a variable.
func (v *View) Head(variable variables.RuleVariable) []Pair {
	switch {
	case variable == variables.Args:
		return v.args.pairs[:v.args.post]
	case variable == variables.ArgsNames:
		return v.args.names[:v.args.post]
	case variable == variables.ArgsCombinedSize:
		return v.head.combined[:]
	case variable == variables.ArgumentsLimitReached:
		return v.head.limit[:]
	case Phase(variable) > 1:
		return initial(variable)
	}
	return v.Of(variable)
}

// Single gives the one value that a rule of phase 2 reads of a single, and "" for anything else.
func (v *View) Single(variable variables.RuleVariable) string {
	if int(variable) >= count {
		return ""
	}
	return v.single[variable].Text
}

// TooMany tells that the request holds more than the engine takes: more values of one kind than the argument limit, JSON
// whose names outgrow its bytes, or a body beyond the engine's own limit. The view is then not complete and the request
// must be refused. The rules on REQBODY_ERROR and ARGUMENTS_LIMIT_REACHED refuse it too, when the view is fed.
func (v *View) TooMany() bool { return v.tooMany }

// add puts a value into a collection.
func (v *View) add(variable variables.RuleVariable, key, text string) {
	v.list[variable] = append(v.list[variable], Pair{key, text})
}

// arg puts a value into that part of the arguments which begins at from.
func (v *View) arg(from int, key, text string) {
	if len(v.args.pairs)-from >= mostArguments {
		v.overflow()
		return
	}
	v.args.pairs = append(v.args.pairs, Pair{key, text})
	v.args.names = append(v.args.names, Pair{key, key})
}

func (v *View) overflow() {
	v.tooMany = true
	v.single[variables.ArgumentsLimitReached].Text = "1"
}

// sum writes ARGS_COMBINED_SIZE, which leaves the path out.
func (v *View) sum() {
	size := 0
	for i := range v.args.pairs {
		if i < v.args.path || i >= v.args.post {
			size += len(v.args.pairs[i].Key) + len(v.args.pairs[i].Text)
		}
	}
	v.single[variables.ArgsCombinedSize].Text = strconv.Itoa(size)
}

// keepHead remembers what phase 1 sees of singles that grow.
func (v *View) keepHead() {
	v.head.combined[0] = v.single[variables.ArgsCombinedSize]
	v.head.limit[0] = v.single[variables.ArgumentsLimitReached]
}

// show opens the windows on the arguments, once they are all there.
func (v *View) show() {
	a := &v.args
	v.list[variables.Args], v.list[variables.ArgsNames] = a.pairs, a.names
	v.list[variables.ArgsGet], v.list[variables.ArgsGetNames] = a.pairs[:a.path], a.names[:a.path]
	v.list[variables.ArgsPath] = a.pairs[a.path:a.post]
	v.list[variables.ArgsPost], v.list[variables.ArgsPostNames] = a.pairs[a.post:], a.names[a.post:]
	v.list[variables.RequestXML] = v.list[variables.XML]
}
