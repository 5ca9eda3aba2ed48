package openapi

import (
	"runtime"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A schema that contains itself through alternatives (a filter that is "and", "or" or "not" of filters) is judged once for
// each alternative at each depth: a body of 200 bytes can cost 2^30 steps. So the schemas that lie on a circle of references
// count how often they are asked, and judging ends with a refusal when a body asks too often for its size (G11). The
// counting is a format of theirs, since the library asks for the format of a value before it goes down into it.

const (
	countFormat    = "gatehouse-count"
	budgetBase     = 1_000
	budgetForEach  = 20     // list or object in the body
	budgetMost     = 50_000 // less than a second
	mostJudges     = 8
	budgetExceeded = "takes too many steps to judge: it repeats alternatives that contain themselves too deeply"
)

// judges are independent copies of the compiled schemas on circles; each is used by one goroutine at a time, so that it can
// count.
type judges chan *judge

type judge struct {
	left    int
	schemas map[*entry]*jsonschema.Schema
}

// overBudget is what a count panics with.
type overBudget struct{}

func (j *judge) count(any) error {
	if j.left--; j.left < 0 {
		panic(overBudget{})
	}
	return nil
}

// validate judges with one of the copies.
func (js judges) validate(e *entry, instance any) (err error, within bool) {
	j := <-js
	defer func() {
		js <- j
		if r := recover(); r != nil {
			if _, ok := r.(overBudget); !ok {
				panic(r)
			}
			err, within = nil, false
		}
	}()
	j.left = min(budgetBase+budgetForEach*containers(instance), budgetMost)
	return j.schemas[e].Validate(instance), true
}

// containers counts the lists and objects of a value.
func containers(v any) int {
	sum := 0
	switch v := v.(type) {
	case []any:
		sum = 1
		for _, item := range v {
			sum += containers(item)
		}
	case map[string]any:
		sum = 1
		for _, member := range v {
			sum += containers(member)
		}
	}
	return sum
}

// circles finds the entries that lie on a circle of references (Tarjan's strongly connected components), and those from
// which one can be reached.
type circles struct {
	index, low map[*entry]int
	stack      []*entry
	onStack    map[*entry]bool
	round      map[*entry]bool
	reaches    map[*entry]bool
}

func findCircles(entries []*entry) *circles {
	c := &circles{index: map[*entry]int{}, low: map[*entry]int{}, onStack: map[*entry]bool{}, round: map[*entry]bool{}, reaches: map[*entry]bool{}}
	for _, e := range entries {
		if _, seen := c.index[e]; !seen {
			c.visit(e)
		}
	}
	return c
}

func (c *circles) visit(e *entry) {
	c.index[e], c.low[e] = len(c.index), len(c.index)
	c.stack = append(c.stack, e)
	c.onStack[e] = true
	self := false
	for _, r := range e.refers {
		if _, seen := c.index[r]; !seen {
			c.visit(r)
			c.low[e] = min(c.low[e], c.low[r])
		} else if c.onStack[r] {
			c.low[e] = min(c.low[e], c.index[r])
		}
		self = self || r == e
		c.reaches[e] = c.reaches[e] || c.reaches[r]
	}
	if c.low[e] != c.index[e] {
		return
	}
	at := len(c.stack) - 1
	for c.stack[at] != e {
		at--
	}
	component := c.stack[at:]
	reaches := len(component) > 1 || self
	for _, m := range component {
		c.onStack[m] = false
		c.round[m] = len(component) > 1 || self
		reaches = reaches || c.reaches[m]
	}
	for _, m := range component {
		c.reaches[m] = reaches
	}
	c.stack = c.stack[:at]
}

// countOnCircles makes the schemas on circles count.
func (s *schemas) countOnCircles(c *circles) {
	for _, e := range s.order {
		if doc, ok := e.doc.(map[string]any); ok && c.round[e] {
			before, _ := doc["format"].(string)
			doc["format"] = countFormat + before
		}
	}
}

// makeJudges compiles the copies, when there is anything to judge with them.
func (s *schemas) makeJudges(c *circles) judges {
	var counted []*entry
	for _, e := range s.order {
		if c.reaches[e] {
			counted = append(counted, e)
		}
	}
	if len(counted) == 0 {
		return nil
	}
	js := make(judges, min(runtime.GOMAXPROCS(0), mostJudges))
	for range cap(js) {
		j := &judge{schemas: make(map[*entry]*jsonschema.Schema, len(counted))}
		compiler := s.compiler(j.count)
		for _, e := range counted {
			if j.schemas[e] = s.compileOne(compiler, e); j.schemas[e] == nil {
				return nil
			}
		}
		js <- j
	}
	return js
}
