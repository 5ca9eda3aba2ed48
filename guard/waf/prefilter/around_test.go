package prefilter

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
)

// Around the filter: texts that rules match, moved by a small step, go to the fast path; only where that answers is the
// engine asked, so that far more can be tried than by asking it about each. Whatever takes the fast path although a rule
// matches is a way in.
func TestAroundTheFilter(t *testing.T) {
	w := the(t)
	h := newHunter(t)
	tries, seed := 1800, uint64(1)
	if long() {
		tries, seed = 300000, rand.Uint64()
	}
	if n, err := strconv.Atoi(os.Getenv("GATEHOUSE_TRIES")); err == nil {
		tries, seed = n, rand.Uint64()
	}
	t.Logf("seed %d", seed)
	random := referee.Seed(seed)
	c := w.candidate()
	var rules []referee.Rule
	for _, id := range h.ids {
		rules = append(rules, h.rules[id])
	}
	slices.SortFunc(rules, func(a, b referee.Rule) int { return a.ID - b.ID })
	for level := 1; level <= 4; level++ {
		for _, r := range h.at(level, h.learn, h.learn) {
			if _, _, err := c.Judge(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	fast, asked := 0, 0
	for asked < tries && !t.Failed() {
		rule := rules[random.IntN(len(rules))]
		probes, err := w.collector.Probes([]referee.Rule{rule}, random, 1+random.IntN(40))
		if err != nil {
			t.Fatal(err)
		}
		probes = some(random, append(probes, some(random, h.suite[rule.ID], 5)...), 15)
		if len(probes) == 0 {
			continue
		}
		list := append(referee.Mutations(random, probes, 30, nil), referee.Mutations(random, h.learn, 3, nil)...)
		for i, p := range some(random, probes, 4) {
			list = append(list, p, oddly(p, i))
		}
		for _, r := range h.at(max(rule.Level, 1)+random.IntN(5-max(rule.Level, 1)), list) {
			asked++
			got, shown, err := c.Quick(r)
			if err != nil {
				t.Fatal(err)
			}
			if !shown {
				continue
			}
			fast++
			if found := h.against(t, c, r, got); found != "" {
				t.Errorf("%v", referee.Finding{Request: r, Fast: true, Differences: []string{found}})
			}
		}
	}
	t.Logf("%d of %d took the fast path", fast, asked)
	if fast < asked/100 {
		t.Errorf("too few to show anything")
	}
}
