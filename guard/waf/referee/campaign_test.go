package referee

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/corazawaf/coraza/v3/types/variables"
)

func mustVariable(t *testing.T, name string) variables.RuleVariable {
	t.Helper()
	v, err := variables.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// seed is what chance goes by: the same one in make test, another each time in make soak.
func seed(t testing.TB) *rand.Rand {
	n := uint64(1)
	if long() {
		n = rand.Uint64()
	}
	t.Logf("seed %d", n)
	return Seed(n)
}

// Probes made from the rules match the rules that they are made from.
func TestProbesMatchTheirRules(t *testing.T) {
	made, matched := 0, 0
	random := Seed(1)
	for _, rule := range the(t).rules {
		if rule.Operator != "rx" {
			continue
		}
		expression, err := regexp.Compile("(?sm)" + rule.Argument)
		if err != nil {
			t.Fatalf("%d: %v", rule.ID, err)
		}
		for _, text := range rule.texts(random, 20) {
			made++
			if expression.MatchString(text) {
				matched++
			}
		}
	}
	if made < 2500 || matched < made*85/100 {
		t.Errorf("%d of %d texts match the expression that they are made from", matched, made)
	}
}

// A text for every branch: none of the words of an expression is left out.
func TestTextsTakeEveryBranch(t *testing.T) {
	list, err := texts(`(?i)(?:sle(?:ep|pt)|bench(?:mark)?|[xyz]q)\s*\(|^(?:a|b(?:c|d(?:e|f)))$`, 100, Seed(1))
	if err != nil {
		t.Fatal(err)
	}
	all := foldAll(strings.Join(list, "\n"))
	for _, word := range []string{"sleep", "slept", "benchmark", "bench", "xq", "yq", "zq", "\na\n", "bc", "bde", "bdf"} {
		if !strings.Contains("\n"+all+"\n", word) {
			t.Errorf("%q is in none of %q", word, list)
		}
	}
}

// foldAll undoes the odd cases that texts writes.
func foldAll(s string) string {
	return strings.NewReplacer("ſ", "s", "\u212a", "k").Replace(strings.ToLower(s))
}

// A candidate that is plain Coraza in this process is never found wrong: whatever is found of another is no mistake of the
// machinery.
func TestPlainCorazaIsFoundRight(t *testing.T) {
	w, random := the(t), seed(t)
	probes, err := w.collector.Probes(w.rules, random, 1+map[bool]int{true: 2000}[long()])
	if err != nil {
		t.Fatal(err)
	}
	list := append(thin(probes, every(1)), Mutations(random, append(requests(t, w, thin(w.suite, 10)), probes...), 8000/every(20), nil)...)
	report, err := w.referee.Compare(w.plain, list, runs(), 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Error(f)
	}
	t.Log(report)
}

// careless says at once that nothing matches when no text holds a sign that it knows; it knows too few.
type careless struct {
	Plain
	signs   string
	neutral Outcome
}

func (c careless) Judge(r Request) (Outcome, bool, error) {
	for _, v := range append(append([]Value{}, r.Head...), r.Body...) {
		if strings.HasPrefix(v.Variable, "ARGS") && strings.ContainsAny(v.Key+v.Text, c.signs) {
			return c.Plain.Judge(r)
		}
	}
	return c.neutral, true, nil
}

// A candidate that is wrong is found out, by few requests.
func TestCarelessCandidatesAreFoundOut(t *testing.T) {
	w := the(t)
	plain, err := w.collector.Placed("neutral", "plain", InQuery, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	neutral := w.plain.Engine.Run(plain)
	if neutral.Interruption != nil || len(neutral.Matched) == 0 {
		t.Fatalf("the neutral request: %+v", neutral)
	}
	samples, _ := Extract()
	list, err := w.collector.Spread(samples, 60, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	report, err := w.referee.Compare(careless{w.plain, "<", neutral}, list, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 1 || !report.Findings[0].Fast {
		t.Errorf("a candidate that knows no sign but < was not found out: %v", report)
	}
}

// Both judge attacks and harmless oddities of the corpora in every place. The even half; GATEHOUSE_ODD=1 opens the other
// half for a report.
func TestCorpora(t *testing.T) {
	w := the(t)
	attacks, naughty := Extract()
	if folder := os.Getenv("GATEHOUSE_CORPORA"); folder == "" {
		t.Log("NOT RUN over the corpora: GATEHOUSE_CORPORA does not name their folder; an extract of our own is tried")
	} else {
		half := Even
		if os.Getenv("GATEHOUSE_ODD") != "" {
			half = Odd
		}
		var err error
		if attacks, naughty, err = Corpus(folder, half); err != nil {
			t.Fatal(err)
		}
	}
	for name, samples := range map[string][]Sample{"attacks": attacks, "naughty": naughty} {
		list, err := w.collector.Spread(samples, 30000/every(100), Settings{})
		if err != nil {
			t.Fatal(err)
		}
		records, err := w.referee.Records(list, runs())
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for _, r := range records {
			if r.Judgement.First.Interruption != nil {
				refused++
			}
		}
		report, err := w.referee.Hold(w.plain, records, 5)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Findings {
			t.Error(f)
		}
		t.Logf("%s: %d texts, %d of %d requests refused by plain Coraza; %v", name, len(samples), refused, len(list), report)
	}
}

func FuzzSameVerdict(f *testing.F) {
	w := the(f)
	probes, err := w.collector.Probes(w.rules, Seed(1), 2)
	if err != nil {
		f.Fatal(err)
	}
	Fuzz(f, w.referee, w.collector, w.plain, append(probes, requests(f, w, thin(w.suite, 5))...))
}

// toy is a filter in front of a small set of rules, as simple as one can be, into which mistakes can be built.
type toy struct {
	Plain
	words  []string
	fold   func(string) string
	decode bool
	skip   string // a variable that it forgets
}

const toyDirectives = `
SecRuleEngine On
SecRule ARGS|REQUEST_COOKIES|REQUEST_HEADERS:User-Agent "@pm sleep( union benchmark" "id:101,phase:2,pass,t:none,t:lowercase,setvar:tx.score=+5"
SecRule ARGS|REQUEST_COOKIES "@rx (?i)(?:select|skip)\s+table" "id:102,phase:2,pass,t:none,t:urlDecodeUni,setvar:tx.score=+3"
SecRule TX:score "@ge 5" "id:103,phase:2,deny,status:403"
`

func toyWords() []string { return []string{"sleep(", "union", "benchmark", "select", "skip"} }

func (c toy) Judge(r Request) (Outcome, bool, error) {
	if o, fast, err := c.Quick(r); fast || err != nil {
		return o, fast, err
	}
	return c.Plain.Judge(r)
}

func (c toy) Quick(r Request) (Outcome, bool, error) {
	for _, name := range []string{"ARGS", "REQUEST_COOKIES", "REQUEST_HEADERS"} {
		if name == c.skip {
			continue
		}
		for _, v := range r.Of(name, true) {
			if name == "REQUEST_HEADERS" && !strings.EqualFold(v.Key, "User-Agent") {
				continue
			}
			if c.decode && strings.ContainsAny(v.Text, "%+") {
				return Outcome{}, false, nil
			}
			for _, word := range c.words {
				if strings.Contains(c.fold(v.Text), word) {
					return Outcome{}, false, nil
				}
			}
		}
	}
	return c.Plain.Engine.Run(Request{Settings: r.Settings, Body: fedAlone(r)}), true, nil
}

// fedAlone is what of a request shows in an outcome although no rule of the toy has looked at it.
func fedAlone(r Request) (list []Value) {
	for _, v := range append(append([]Value{}, r.Head...), r.Body...) {
		if v.Variable == "TX" || v.Variable == "REQBODY_PROCESSOR" {
			list = append(list, v)
		}
	}
	return list
}

// Every mistake that is built into a filter is found; the filter without one is not.
func TestMutantsAreFound(t *testing.T) {
	w := the(t)
	r, err := Start(toyDirectives)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	engine, err := NewEngine(toyDirectives)
	if err != nil {
		t.Fatal(err)
	}
	right := func() toy {
		return toy{Plain{engine}, toyWords(), foldAll, true, ""}
	}
	random := Seed(1)
	var probes []Request
	for range 8 { // short expressions have few texts, each of which can be written in many ways
		some, err := w.collector.Probes(ReadRules(toyDirectives), random, 60)
		if err != nil {
			t.Fatal(err)
		}
		probes = append(probes, some...)
	}
	for i := range probes {
		probes[i].Settings = Settings{}
	}
	records, err := r.Records(append(probes, Mutations(random, probes, 1500, nil)...), 1)
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Hold(right(), records, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Error(f)
	}
	if report.Fast == 0 || report.Fast == report.Asked {
		t.Errorf("%d of %d on the fast path", report.Fast, report.Asked)
	}
	kills, err := r.Mutants(func(n int) (Candidate, string, error) {
		c := right()
		switch words := toyWords(); {
		case n < len(words):
			c.words = append(append([]string{}, words[:n]...), words[n+1:]...)
			return c, "without " + words[n], nil
		case n == len(words):
			c.fold = strings.ToLower
			return c, "ſ is no s", nil
		case n == len(words)+1:
			c.decode = false
			return c, "url encoding is overlooked", nil
		case n < len(words)+5:
			c.skip = []string{"ARGS", "REQUEST_COOKIES", "REQUEST_HEADERS"}[n-len(words)-2]
			return c, c.skip + " is forgotten", nil
		}
		return nil, "", nil
	}, 1, records, nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if kills.Tried != 10 || len(kills.Survivors) > 0 {
		t.Error(kills)
	}
	t.Log(kills)
}
