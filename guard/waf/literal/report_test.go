package literal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// tally is what a rule did with ordinary values.
type tally struct {
	crsRule
	condition         Condition
	reported, matched int
}

// How many rules an ordinary value has to be asked. With -v it tells the weakest rules and what they are asked.
func TestSelectivity(t *testing.T) {
	s, rules := crsSieve(t)
	table := float64(len(s.table)) * 4 / 1e6
	t.Logf("%d patterns, %d clauses, %d states of %d columns, table %.1f MB", len(s.patterns), len(s.keyOf), len(s.table)/int(s.width), s.width, table)
	if table > 16 {
		t.Errorf("the automaton is too large")
	}
	tallies := make([]tally, len(rules))
	for i, r := range rules {
		c, err := r.condition()
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		tallies[i] = tally{crsRule: r, condition: c}
	}
	values := benign()
	scanned := scanAll(t, s, values, tallies)
	for kind, n := range scanned {
		t.Logf("%-10s %3d values, %.2f rules of level 1 each, %d values with none", kind, n.values, float64(n.rules)/float64(n.values), n.free)
	}
	if n := scanned["names"]; float64(n.rules) > 0.4*float64(n.values) {
		t.Errorf("names: %d rules for %d values", n.rules, n.values)
	}
	if n := scanned["prose"]; float64(n.rules) > 3*float64(n.values) {
		t.Errorf("prose: %d rules for %d values", n.rules, n.values)
	}
	slices.SortStableFunc(tallies, func(a, b tally) int { return b.reported - b.matched - a.reported + a.matched })
	told := 0
	for _, r := range tallies {
		if r.negated || r.link || r.name >= "950" || told == 45 {
			continue
		}
		told++
		t.Logf("%s level %s @%s: %.1f%% reported, %.1f%% match: %.200s | %.80s", r.name, r.level, r.operator, percent(r.reported, values),
			percent(r.matched, values), show(r.condition), r.argument)
	}
}

func percent(n int, values []value) float64 { return 100 * float64(n) / float64(len(values)) }

type count struct{ values, rules, free int }

// scanAll scans the values and counts, per kind and per rule; a match that isn't reported is an error.
func scanAll(t *testing.T, s *Sieve, values []value, tallies []tally) map[string]count {
	t.Helper()
	w := s.NewWork()
	out := map[string]count{}
	for _, v := range values {
		got := s.Scan(v.text, w)
		before := out[v.kind].rules
		c := out[v.kind]
		c.values++
		for i := range tallies {
			r := &tallies[i]
			matched := r.matches(v.text)
			if matched {
				r.matched++
			}
			if !reports(got, i) {
				if matched {
					t.Errorf("%s matches %q and was not reported", r.name, v.text)
				}
				continue
			}
			r.reported++
			if r.counts() {
				c.rules++
			}
		}
		if c.rules == before {
			c.free++
		}
		out[v.kind] = c
	}
	return out
}

func show(c Condition) string {
	var out []string
	for _, clause := range c.Clauses {
		out = append(out, fmt.Sprintf("%d%.120q", len(clause), clause))
	}
	for _, clause := range c.Bare {
		out = append(out, fmt.Sprintf("bare %d%.120q", len(clause), clause))
	}
	for _, s := range c.Bytes {
		var held []byte
		for b := range 256 {
			if s.Has(byte(b)) {
				held = append(held, byte(b))
			}
		}
		out = append(out, fmt.Sprintf("bytes %.60q", held))
	}
	return fmt.Sprintf("min %d, %s", c.Min, strings.Join(out, " & "))
}

// counts says whether the rule is one that ordinary values of a request meet at paranoia level 1.
func (r crsRule) counts() bool {
	return r.level == "1" && r.name < "950" && !r.negated && !r.link && strings.Contains(r.targets, "ARGS")
}
