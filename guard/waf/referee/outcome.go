package referee

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Interruption is how a rule ended an exchange.
type Interruption struct {
	Rule   int
	Status int
	Action string
}

// Place is where a rule matched. Text is what its operator saw, after the transformations.
type Place struct {
	Variable string
	Key      string
	Text     string
}

// Outcome is everything that the rules said about one request. Two outcomes of the same request by judges that agree are
// deeply equal.
type Outcome struct {
	Interruption *Interruption
	Matched      map[int]int       // how often each rule matched, by id
	Places       map[int][]Place   // where, by id: a set, sorted
	TX           map[string]string // the variables that rules set, but for what time and chance made
	Notes        map[string]string // HIGHEST_SEVERITY and the like, by name
	Failed       string            // why the engine could not judge; empty when it did
}

// aspect is one thing that an outcome says, such as "rule 942100 matched twice".
type aspect struct{ about, is string }

func (a aspect) String() string { return a.about + ": " + a.is }

// aspects takes an outcome apart, so that two can be told apart, joined and met.
func (o Outcome) aspects() map[aspect]bool {
	list := map[aspect]bool{}
	if o.Interruption != nil {
		list[aspect{"interruption", fmt.Sprintf("rule %d, status %d, %s", o.Interruption.Rule, o.Interruption.Status, o.Interruption.Action)}] = true
	} else {
		list[aspect{"interruption", "none"}] = true
	}
	for id, n := range o.Matched {
		list[aspect{fmt.Sprintf("rule %d", id), fmt.Sprintf("matched %d times", n)}] = true
	}
	for id, places := range o.Places {
		for _, p := range places {
			list[aspect{fmt.Sprintf("rule %d", id), fmt.Sprintf("at %s:%q on %q", p.Variable, p.Key, p.Text)}] = true
		}
	}
	for name, text := range o.TX {
		list[aspect{"tx." + name, text}] = true
	}
	for name, text := range o.Notes {
		list[aspect{name, text}] = true
	}
	if o.Failed != "" {
		list[aspect{"failed", o.Failed}] = true
	}
	return list
}

// Judgement is what the referee says about one request, over all its runs.
type Judgement struct {
	First Outcome
	Runs  int
	// Others holds the outcomes that differ from the first. None in all but a few cases.
	Others []Outcome
}

// Stable tells that the referee never disagreed with itself.
func (j Judgement) Stable() bool { return len(j.Others) == 0 }

// always and maybe are what all outcomes say, and what any of them says.
func (j Judgement) bounds() (always, maybe map[aspect]bool) {
	always, maybe = j.First.aspects(), j.First.aspects()
	for _, o := range j.Others {
		said := o.aspects()
		for a := range always {
			if !said[a] {
				delete(always, a)
			}
		}
		for a := range said {
			maybe[a] = true
		}
	}
	return always, maybe
}

// Differences tells in what a candidate's outcome is not what the referee says: what it lacks although the referee always
// says it, and what it says although the referee never does. None means the same verdict.
func (j Judgement) Differences(got Outcome) []string {
	always, maybe := j.bounds()
	said := got.aspects()
	var list []string
	for a := range always {
		if !said[a] {
			list = append(list, "lacks "+a.String())
		}
	}
	for a := range said {
		if !maybe[a] {
			list = append(list, "invents "+a.String())
		}
	}
	slices.Sort(list)
	return list
}

// join adds the runs of another judgement of the same request.
func (j Judgement) join(k Judgement) Judgement {
	for _, o := range append([]Outcome{k.First}, k.Others...) {
		j = j.and(o)
	}
	j.Runs += k.Runs - 1 - len(k.Others)
	return j
}

// and adds one run.
func (j Judgement) and(o Outcome) Judgement {
	j.Runs++
	for _, known := range append([]Outcome{j.First}, j.Others...) {
		if same(known, o) {
			return j
		}
	}
	j.Others = append(slices.Clone(j.Others), o)
	return j
}

func same(a, b Outcome) bool {
	x, y := a.aspects(), b.aspects()
	if len(x) != len(y) {
		return false
	}
	for k := range x {
		if !y[k] {
			return false
		}
	}
	return true
}

func sortedPlaces(places []Place) []Place {
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(strings.Compare(a.Variable, b.Variable), strings.Compare(a.Key, b.Key), strings.Compare(a.Text, b.Text))
	})
	return slices.Compact(places)
}
