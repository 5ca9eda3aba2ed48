package crs

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
)

// verdict is what became of one test.
type verdict struct {
	test     referee.Test
	said     said
	decision gate.Decision
	rules    []int // that it names
}

// raw is what is sent for a test. One about an answer asks, harmlessly, for that answer: its own request holds what its
// answer shall hold, and would be refused.
func raw(t *testing.T, test referee.Test, answers map[string]referee.Reply) []byte {
	t.Helper()
	if !test.Answered() || test.Message.Method != "POST" || test.Message.Target != "/reflect" {
		return test.Message.Bytes()
	}
	reply, err := referee.Reflect("POST", "/reflect", test.Message.Body)
	if err != nil {
		t.Fatalf("%s: %v", test.ID, err)
	}
	path := "/answer/" + strings.ReplaceAll(test.ID, "/", "-")
	answers[path] = reply
	return []byte("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: */*\r\nConnection: close\r\n\r\n")
}

// through sends the tests of one level through a gateway of that level.
func through(t *testing.T, level int, tests []referee.Test) []verdict {
	answers := map[string]referee.Reply{}
	list := make([]verdict, len(tests))
	bytes := make([][]byte, len(tests))
	for i, test := range tests {
		list[i].test, bytes[i] = test, raw(t, test, answers)
	}
	g := start(t, level, answers)
	next := make(chan int)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for i := range next {
				var err error
				if list[i].said, err = g.send(bytes[i], source(i)); err != nil {
					t.Errorf("%s: %v", tests[i].ID, err)
				}
			}
		})
	}
	for i := range tests {
		next <- i
	}
	close(next)
	workers.Wait()
	g.stop()
	events := g.events(t)
	for i := range list {
		e, ok := events[source(i)]
		if !ok && list[i].said.behind {
			t.Errorf("%s: no event", tests[i].ID)
		}
		list[i].decision, list[i].rules = e.Decision, named(e.Decision)
	}
	return list
}

var ruleNumber = regexp.MustCompile(`\b9[0-9]{5}\b`)

// named lists the rules that an event names.
func named(d gate.Decision) (list []int) {
	if d.Reason != waf.ReasonRule {
		return nil
	}
	for _, word := range ruleNumber.FindAllString(d.Detail+" "+d.Rule, -1) {
		var n int
		_, _ = fmt.Sscan(word, &n) // six digits
		list = append(list, n)
	}
	return list
}

// The rule set's tests through the gateway (issue 6, point 3b).
func TestTheSuiteThroughTheGateway(t *testing.T) {
	suite, err := referee.Suite()
	if err != nil {
		t.Fatal(err)
	}
	byLevel := map[int][]referee.Test{}
	for _, test := range suite {
		byLevel[test.Level] = append(byLevel[test.Level], test)
	}
	var all []verdict
	for level := 1; level <= 4; level++ {
		all = append(all, through(t, level, byLevel[level])...)
	}
	if len(all) != len(suite) {
		t.Fatalf("%d of %d tests were sent", len(all), len(suite))
	}
	var earlier, otherRules, passed, more []string
	count := map[string]int{}
	for _, v := range all {
		switch kind, line := judge(v); kind {
		case "earlier":
			earlier = append(earlier, line)
			count[kind]++
		case "other":
			otherRules = append(otherRules, line)
			count[kind]++
		case "passed":
			passed = append(passed, line)
			count[kind]++
		case "more":
			more = append(more, line)
			count[kind]++
		case "wrong":
			t.Error(line)
		default:
			count[kind]++
		}
	}
	exact(t, "testdata/refused-earlier.txt", earlier)
	exact(t, "testdata/refused-by-another-rule.txt", otherRules)
	exact(t, "testdata/let-through.txt", passed)
	exact(t, "testdata/refused-though-harmless.txt", more)
	t.Logf("%d tests: %d found by the rule that must find them, %d harmless and not refused for their rule; %d refused before the WAF, %d by another rule, %d refused with more rules than an event has room for, %d let through although a rule shall match, %d refused for a rule that shall not match",
		len(all), count["found"], count["harmless"], count["earlier"], count["other"], count["cut"], count["passed"], count["more"])
}

// judge says what a verdict means for its test.
func judge(v verdict) (kind, line string) {
	id := v.test.ID
	switch {
	case v.decision.Reason == waf.ReasonEngine, v.decision.Code == gate.Internal, v.said.status == http.StatusInternalServerError && !v.said.behind:
		return "wrong", fmt.Sprintf("%s: %d %s %s", id, v.said.status, v.decision.Reason, v.decision.Detail)
	case !v.said.behind && v.decision.Reason != waf.ReasonRule:
		return "earlier", strings.TrimRight(fmt.Sprintf("%s %d %s %s", id, v.said.status, v.decision.Code, v.decision.Reason), " ")
	}
	for _, rule := range v.test.Never {
		if slices.Contains(v.rules, rule) {
			return "more", fmt.Sprintf("%s %d", id, rule)
		}
	}
	expect := v.test.Expect
	switch {
	case len(expect) == 0:
		return "harmless", ""
	case v.said.behind:
		return "passed", fmt.Sprintf("%s %v", id, expect)
	}
	for _, rule := range expect {
		if rule < 949000 && !slices.Contains(v.rules, rule) {
			if strings.HasSuffix(v.decision.Detail, "[cut]") {
				return "cut", ""
			}
			return "other", fmt.Sprintf("%s %d by %v", id, rule, unique(v.rules))
		}
	}
	return "found", ""
}

func unique(list []int) []int {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// exact compares a list with a file of lines; what follows after " # " is the reason. With GATEHOUSE_WRITE=1 it writes the
// file anew and keeps the reasons.
func exact(t *testing.T, file string, got []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var head []string
	reasons := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			head = append(head, line)
		} else if entry, reason, _ := strings.Cut(line, " # "); entry != "" {
			reasons[strings.TrimSpace(entry)] = reason
		}
	}
	slices.Sort(got)
	if os.Getenv("GATEHOUSE_WRITE") != "" {
		lines := head
		for _, entry := range got {
			if reason := reasons[entry]; reason != "" {
				entry += " # " + reason
			}
			lines = append(lines, entry)
		}
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, entry := range got {
		if _, ok := reasons[entry]; !ok {
			t.Errorf("%s lacks: %s", file, entry)
		}
	}
	for entry := range reasons {
		if !slices.Contains(got, entry) {
			t.Errorf("%s has what is no longer so: %s", file, entry)
		}
	}
}
