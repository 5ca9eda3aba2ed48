package referee

import (
	"os"
	"strconv"
	"testing"
	"time"
)

func TestSuite(t *testing.T) {
	tests, err := Suite()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCollector(theDirectives())
	if err != nil {
		t.Fatal(err)
	}
	var requests []Request
	levels := map[int]int{}
	expect := 0
	for _, x := range tests {
		r, err := c.Request(x)
		if err != nil {
			t.Error(err)
			continue
		}
		levels[x.Level]++
		if len(x.Expect) > 0 {
			expect++
		}
		requests = append(requests, r)
	}
	runs, _ := strconv.Atoi(os.Getenv("RUNS"))
	began := time.Now()
	js, err := referee(t).Judge(requests, max(runs, 1))
	if err != nil {
		t.Fatal(err)
	}
	bad, unstable := 0, 0
	for i, j := range js {
		if k := tests[i].Kept(j.First); len(k) > 0 {
			bad++
			t.Logf("%s PL%d: %v %+v %s", tests[i].ID, tests[i].Level, k, j.First.Interruption, j.First.Failed)
		}
		if !j.Stable() {
			unstable++
			t.Logf("UNSTABLE %s %v", tests[i].ID, Judgement{First: j.First}.Differences(j.Others[0]))
		}
	}
	t.Logf("%d tests, %v, expect %d, bad %d, unstable %d, %v", len(tests), levels, expect, bad, unstable, time.Since(began))
}
