package main

import (
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
)

func TestHalf(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got := half(c.list); got != c.want {
			t.Errorf("%v: %v instead of %v", c.list, got, c.want)
		}
	}
}

// TestWrongVerdict: who lets an attack pass, denies what is benign or differs from plain Coraza is an error, however fast.
func TestWrongVerdict(t *testing.T) {
	modes := []firewall.Mode{{Name: "gatehouse"}}
	rivals := []firewall.Rival{{Name: "gatehouse"}, {Name: firewall.Coraza}, {Name: modsecurity}}
	for _, c := range []struct {
		name                 string
		verdict              traffic.Verdict
		ours, plain, another int
		wrong                bool
	}{
		{"benign", traffic.Allowed, 200, 200, 200, false},
		{"a false alarm", traffic.Allowed, 403, 200, 200, true},
		{"a case that is no benign one", traffic.Allowed, 200, 403, 200, true},
		{"attack", traffic.Denied, 403, 403, 403, false},
		{"an attack that passes", traffic.Denied, 200, 403, 403, true},
		{"another guard's refusal", traffic.Denied, 400, 403, 403, true},
		{"another engine's opinion", traffic.Denied, 403, 403, 200, false},
		{"as plain Coraza", traffic.AsPlain, 200, 200, 403, false},
		{"too dear to judge", traffic.AsPlain, 413, 200, 200, false},
		{"too dear to judge, though benign", traffic.Allowed, 413, 200, 200, true},
		{"not as plain Coraza", traffic.AsPlain, 200, 403, 403, true},
	} {
		m := newMeasured(traffic.Case{Name: c.name, Group: "x", Verdict: c.verdict, Goal: traffic.Goal{Part: 1}})
		for i, status := range []int{c.ours, c.plain, c.another} {
			m.seen[rivals[i].Name] = &seen{without: []float64{1}, added: []float64{1}, status: []map[int]int{{status: 7}}}
		}
		var out strings.Builder
		if err := printed(&out, []*measured{m}, rivals, modes); (err != nil) != c.wrong {
			t.Errorf("%s: %v\n%s", c.name, err, out.String())
		}
	}
}

// TestGoal: milliseconds or the part of plain Coraza, either will do; attacks may only be a little dearer than there.
func TestGoal(t *testing.T) {
	for _, c := range []struct {
		goal         traffic.Goal
		added, plain float64
		want         string
	}{
		{traffic.Goal{Millis: 0.06, Part: 1. / 12}, 0.05, 0.1, "yes"},
		{traffic.Goal{Millis: 0.06, Part: 1. / 12}, 0.1, 1.3, "yes"},
		{traffic.Goal{Millis: 0.06, Part: 1. / 12}, 0.1, 1, "**no**"},
		{traffic.Goal{Part: 1.1}, 1.05, 1, "yes"},
		{traffic.Goal{Part: 1.1}, 1.15, 1, "**no**"},
	} {
		m := newMeasured(traffic.Case{Goal: c.goal})
		if goal, met := m.judged(&seen{added: []float64{c.added}}, &seen{added: []float64{c.plain}}); met != c.want {
			t.Errorf("%v beside %v, goal %s: %s", c.added, c.plain, goal, met)
		}
	}
}
