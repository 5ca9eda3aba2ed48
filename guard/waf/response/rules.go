package response

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// Rules are the rules of an engine that look at answers, and what a text must hold for each of them to match. They are
// derived once, when the first answer is inspected, and shared by all APIs.
type Rules struct {
	engine func() (coraza.WAF, error)
	files  fs.FS
	clock  func() time.Duration

	once   sync.Once
	waf    coraza.WAF
	err    error
	all    bool // the rules can't be read, so that the engine judges each answer
	rules  []*rule
	sieve  *literal.Sieve // what the rules need
	works  sync.Pool      // *literal.Work
	shapes []shape        // leaks
	finder *finder        // of their hints
}

// NewRules takes the engine, which may still be compiling, the files that its rules name, and a clock of the processor time
// that the calling thread has used.
func NewRules(engine func() (coraza.WAF, error), files fs.FS, clock func() time.Duration) *Rules {
	return &Rules{engine: engine, files: files, clock: clock}
}

// Ready waits until the rules are derived, and tells why they cannot be.
func (r *Rules) Ready() error {
	r.once.Do(r.derive)
	return r.err
}

// rule is one rule of phase 3 or 4 that can add to the score.
type rule struct {
	id     int
	level  int // of paranoia, 0 when it names none
	score  int // what it adds to the score, as the core rule set's severities count
	tests  []test
	always bool // it reads what isn't known here, so that only the engine can tell
}

// test is one link of a rule that looks at the answer.
type test struct {
	*secrule.Rule
	status   bool     // it looks at the status, not at the body
	branches []branch // of which one must be met by the body; none: nothing is known
	angle    bool     // it needs an angle bracket
}

// derive reads the rules. An engine that can't be read is asked about every answer.
func (r *Rules) derive() {
	if r.waf, r.err = r.engine(); r.err != nil {
		return
	}
	b := &builder{files: r.files}
	read, err := secrule.Read(r.waf)
	r.all = err != nil
	for _, one := range read {
		if one.Phase != 3 && one.Phase != 4 {
			continue
		}
		if k := b.rule(one); k != nil {
			r.rules = append(r.rules, k)
		}
	}
	r.sieve = b.sieve.Build()
	r.works.New = func() any { return r.sieve.NewWork() }
	r.shapes = shapes()
	var hints []word
	for i, s := range r.shapes {
		for _, h := range s.hints {
			hints = append(hints, word{fold(h), i})
		}
	}
	r.finder = newFinder(hints)
}

// builder collects what all rules need.
type builder struct {
	files fs.FS
	sieve literal.Builder
}

// rule gives what is known of a rule; nil when it can do nothing but keep the books.
func (b *builder) rule(r *secrule.Rule) *rule {
	k := &rule{id: r.ID}
	for _, tag := range r.Tags {
		if level, ok := strings.CutPrefix(tag, "paranoia-level/"); ok {
			k.level, _ = strconv.Atoi(level)
		}
	}
	books := true
	for _, part := range append([]*secrule.Rule{r}, r.Links...) {
		k.score += scoreOf(part.Actions.Sets)
		for _, t := range part.Targets {
			switch {
			case t.Variable == variables.TX:
			case t.Variable == variables.ResponseHeaders && strings.EqualFold(t.Key, "content-encoding"): // is taken off
				return nil
			case (t.Variable == variables.ResponseBody || t.Variable == variables.ResponseStatus) && !t.Count && part.Test != nil && len(part.Targets) == 1:
				books = false
				k.tests = append(k.tests, b.test(part, t.Variable == variables.ResponseStatus))
			default:
				books, k.always = false, true
			}
		}
	}
	if books || !k.always && len(r.Links) == 0 && r.Test.Negated && r.Actions.SkipAfter != "" && !r.SideEffects() {
		return nil // to skip less is no more than to look at what is skipped, which is looked at in any case
	}
	return k
}

// scoreOf is what the rule adds to the score of answers.
func scoreOf(sets []secrule.Set) (score int) {
	points := map[string]int{"critical": 5, "error": 4, "warning": 3, "notice": 2}
	for _, s := range sets {
		if !strings.HasPrefix(strings.ToLower(s.Key), "outbound_anomaly_score") {
			continue
		}
		for name, n := range points {
			if strings.Contains(strings.ToLower(s.Value), name) {
				score += n
			}
		}
	}
	return score
}

func (b *builder) test(part *secrule.Rule, status bool) test {
	t := test{Rule: part, status: status}
	if status || part.Test.Negated {
		return t
	}
	switch condition, err := b.condition(part); {
	case err != nil:
	case len(part.Chain.Names) == 0 && strings.EqualFold(part.Test.Name, "rx"):
		if t.branches = branches(part.Test.Argument, &b.sieve); t.branches == nil {
			condition.Bare = nil // costs a second reading, and no rule for answers needs it
			t.branches = []branch{{sieve: b.sieve.Add(condition)}}
		}
	case len(part.Chain.Names) == 0:
		condition.Bare = nil // costs a second reading, and no rule for answers needs it
		t.branches = []branch{{sieve: b.sieve.Add(condition)}}
	case strings.Join(part.Chain.Names, " ") == "removeWhitespace lowerCase":
		t.angle = strings.ContainsAny(part.Test.Argument, "<>") && strings.EqualFold(part.Test.Name, "contains")
	}
	return t
}

// condition is what a text must hold for the test to match.
func (b *builder) condition(part *secrule.Rule) (literal.Condition, error) {
	argument := part.Test.Argument
	switch strings.ToLower(part.Test.Name) {
	case "rx":
		return literal.Expression(argument)
	case "pm":
		return literal.Words(strings.Split(argument, " ")), nil
	case "contains":
		if strings.Contains(argument, "%{") {
			return literal.Condition{}, nil
		}
		return literal.Words([]string{argument}), nil
	case "pmfromfile", "pmf":
		list, err := wordsOf(b.files, path.Join(path.Dir(part.File), argument))
		return literal.Words(list), err
	}
	return literal.Condition{}, fmt.Errorf("nothing is known of operator %s", part.Test.Name)
}

// wordsOf reads a list of words, one a line, as the engine does.
func wordsOf(files fs.FS, name string) (list []string, err error) {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list, lines.Err()
}
