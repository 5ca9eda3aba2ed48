package literal

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	start := time.Now()
	rules := crs(t)
	t.Logf("read %v", time.Since(start))
	start = time.Now()
	var b Builder
	conditions := make([]Condition, len(rules))
	var slow []string
	for i, r := range rules {
		one := time.Now()
		c, err := r.condition()
		if d := time.Since(one); d > 5*time.Millisecond {
			slow = append(slow, fmt.Sprintf("%s %v", r.name, d))
		}
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		conditions[i] = c
		b.Add(c)
	}
	t.Logf("derived in %v, slow: %v", time.Since(start), slow)
	start = time.Now()
	s := b.Build()
	t.Logf("built in %v: %d patterns, %d clauses, %d states of %d columns, table %.1f MB", time.Since(start),
		len(s.patterns), len(s.keyOf), len(s.table)/int(s.width), s.width, float64(len(s.table))*4/1e6)

	values := benign()
	w := s.NewWork()
	hits := make([]int, len(rules))
	real := make([]int, len(rules))
	perKind := map[string][3]int{}
	for _, v := range values {
		got := s.Scan(v.text, w)
		k := perKind[v.kind]
		k[0]++
		n := 0
		for i, r := range rules {
			if got[i/64]>>(i%64)&1 == 1 {
				hits[i]++
				if r.counts() {
					n++
				}
				if r.matches(v.text) {
					real[i]++
				}
			} else if r.matches(v.text) {
				t.Errorf("%s matches %q and was not reported", r.name, v.text)
			}
		}
		k[1] += n
		if n <= 0 {
			k[2]++
		}
		perKind[v.kind] = k
	}
	for kind, k := range perKind {
		t.Logf("%-10s %4d values, %.2f rules each, %d with none", kind, k[0], float64(k[1])/float64(k[0]), k[2])
	}
	order := make([]int, len(rules))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return hits[order[a]]-real[order[a]] > hits[order[b]]-real[order[b]] })
	for _, i := range order {
		if hits[i] == 0 {
			break
		}
		if !rules[i].counts() {
			continue
		}
		t.Logf("%s %s %.1f%% (true %.1f%%): %s | %.90s", rules[i].name, rules[i].operator, 100*float64(hits[i])/float64(len(values)),
			100*float64(real[i])/float64(len(values)), show(conditions[i]), rules[i].argument)
	}
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
