package seclang

import (
	"slices"
	"strconv"
	"strings"
)

// model is all rules of a set in their order, as far as removals, exclusions and jumps need to know them.
type model struct {
	rules   []known
	markers map[string][]int // name to places in the order
}

// known is one rule.
type known struct {
	id, phase, order int
	tags             []string
	names            []string // upper case names of the targets of its head
	core             bool
	book             bool // keeps scores, sets defaults or decides: nothing works without it
}

// What counts as taking away a large part of the rules.
const manyRules = 20

func newModel(set Set) *model {
	m := &model{markers: map[string][]int{}}
	order := 0
	for _, part := range []*Files{set.Before, set.Core, set.After} {
		if part == nil {
			continue
		}
		linked := false
		for _, d := range part.Directives {
			if !isRule(d) {
				continue
			}
			order++
			if d.Name == "secmarker" {
				m.markers[d.Args] = append(m.markers[d.Args], order)
				continue
			}
			r, err := rule(d)
			if err == nil && !linked {
				m.add(r, order, part == set.Core)
			}
			_, linked = r.find("chain")
		}
	}
	return m
}

func (m *model) add(r Rule, order int, core bool) {
	k := known{phase: 2, order: order, core: core}
	for _, a := range r.Actions {
		switch a.Name {
		case "id":
			k.id, _ = strconv.Atoi(a.Value)
		case "phase":
			k.phase = phaseOf(a.Value)
		case "tag":
			k.tags = append(k.tags, a.Value)
		}
	}
	for _, t := range r.Targets {
		if !t.Not {
			k.names = append(k.names, strings.ToUpper(t.Name))
		}
	}
	family := k.id / 1000
	k.book = core && (k.id < 900000 || slices.Contains([]int{900, 901, 949, 959}, family))
	m.rules = append(m.rules, k)
}

// phaseOf reads the value of phase; 0 when there is no such phase.
func phaseOf(s string) int {
	switch s {
	case "request":
		return 2
	case "response":
		return 4
	case "logging":
		return 5
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= 5 {
		return n
	}
	return 0
}

// between are the rules with ids from first to last.
func (m *model) between(first, last int) (list []known) {
	for _, k := range m.rules {
		if k.id >= first && k.id <= last {
			list = append(list, k)
		}
	}
	return list
}

// tagged are the rules with that tag.
func (m *model) tagged(tag string) (list []known) {
	for _, k := range m.rules {
		if slices.Contains(k.tags, tag) {
			list = append(list, k)
		}
	}
	return list
}

// next is the first place of a marker behind that place; 0 when there is none.
func (m *model) next(marker string, order int) int {
	for _, n := range m.markers[marker] {
		if n > order {
			return n
		}
	}
	return 0
}

// inside are the rules between two places.
func (m *model) inside(from, to int) (list []known) {
	for _, k := range m.rules {
		if k.order > from && k.order < to {
			list = append(list, k)
		}
	}
	return list
}

// span reads "942100" or "942100-942199".
func span(s string) (first, last int, ok bool) {
	a, b, ranged := strings.Cut(s, "-")
	if !ranged {
		b = a
	}
	first, err := strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	return first, last, err == nil && err2 == nil && first > 0 && first <= last
}
