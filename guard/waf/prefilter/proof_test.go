package prefilter

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

func TestMain(m *testing.M) { os.Exit(referee.Main(m)) }

// candidate says by the prefilter, and by an engine without the rules that it takes out, what plain Coraza would say.
type candidate struct {
	engine *referee.Engine
	filter *Filter
	levels map[string]*Level
	known  map[*class]referee.Outcome
	slow   map[int]int // rule -> how often it sent a request to the engine
	late   int         // classes that could not be learned
}

// fed are the values of a referee's request.
type fed struct {
	head, all map[variables.RuleVariable][]view.Pair
	empty     view.View
	request   referee.Request
}

func values(r referee.Request) *fed {
	f := &fed{request: r, head: map[variables.RuleVariable][]view.Pair{}, all: map[variables.RuleVariable][]view.Pair{}}
	f.empty.Reset()
	return f
}

func (f *fed) TooMany() bool                             { return false }
func (f *fed) Of(v variables.RuleVariable) []view.Pair   { return f.get(f.all, v, true) }
func (f *fed) Head(v variables.RuleVariable) []view.Pair { return f.get(f.head, v, false) }

func (f *fed) get(known map[variables.RuleVariable][]view.Pair, v variables.RuleVariable, body bool) []view.Pair {
	if list, ok := known[v]; ok {
		return list
	}
	var list []view.Pair
	for _, x := range f.request.Of(v.Name(), body) {
		list = append(list, view.Pair{Key: x.Key, Text: x.Text})
	}
	if single := f.empty.Of(v); len(single) == 1 { // what is fed twice is what was fed last
		list = append(slices.Clone(single), list...)
		list = list[len(list)-1:]
	}
	known[v] = list
	return list
}

func (c *candidate) level(s referee.Settings) (*Level, error) {
	key := fmt.Sprint(s)
	if l := c.levels[key]; l != nil {
		return l, nil
	}
	neutral := referee.Request{Name: "neutral", Settings: s, Head: []referee.Value{
		{Variable: "REMOTE_ADDR", Text: "192.0.2.1"}, {Variable: "REQUEST_METHOD", Text: "GET"}, {Variable: "REQUEST_PROTOCOL", Text: "HTTP/1.1"}, {Variable: "REQUEST_LINE", Text: "GET / HTTP/1.1"},
		{Variable: "REQUEST_URI", Text: "/"}, {Variable: "REQUEST_URI_RAW", Text: "/"}, {Variable: "REQUEST_FILENAME", Text: "/"},
		{Variable: "REQUEST_HEADERS", Key: "Host", Text: "api.example"}, {Variable: "REQUEST_HEADERS", Key: "Accept", Text: "*/*"}, {Variable: "REQUEST_HEADERS", Key: "User-Agent", Text: "neutral"},
		{Variable: "REQUEST_HEADERS", Key: "Content-Length", Text: "0"},
	}}
	l, err := c.filter.NewLevel(nil, plain(c.engine.Run(neutral)))
	if err != nil {
		return nil, err
	}
	c.levels[key] = l
	return l, nil
}

func plain(o referee.Outcome) Outcome {
	return Outcome{Denied: o.Interruption != nil || o.Failed != "", Matched: o.Matched, TX: o.TX}
}

func (c *candidate) Judge(r referee.Request) (referee.Outcome, bool, error) {
	o, fast, err := c.Quick(r)
	if err != nil || fast {
		return o, fast, err
	}
	l, err := c.level(r.Settings)
	if err != nil {
		return o, false, err
	}
	v, w := values(r), c.filter.NewWork()
	if _, shown := l.Judge(v, w); shown {
		return o, false, fmt.Errorf("judged otherwise the second time")
	}
	if w.class != nil {
		c.slow[w.first]++
	}
	o = c.engine.Without(r, l.Narrow(v, w).Remove)
	if r.Answered || r.Logging {
		return o, false, nil
	}
	if err := l.Learn(v, w, plain(o)); err != nil && o.Interruption == nil {
		c.late++
	}
	if got, shown := l.Judge(v, w); shown && got.Matched != nil {
		if _, ok := c.known[w.class]; !ok {
			c.known[w.class] = o
		}
	}
	return o, false, nil
}

// Quick is the fast path alone.
func (c *candidate) Quick(r referee.Request) (referee.Outcome, bool, error) {
	if r.Answered || r.Logging {
		return referee.Outcome{}, false, nil
	}
	l, err := c.level(r.Settings)
	if err != nil {
		return referee.Outcome{}, false, err
	}
	v, w := values(r), c.filter.NewWork()
	if _, shown := l.Judge(v, w); !shown {
		return referee.Outcome{}, false, nil
	}
	o := l.here(c.known[w.class], v, w)
	o.TX = maps.Clone(o.TX)
	delete(o.TX, bodyText) // written by no rule
	for _, x := range r.Body {
		if x.Variable == "TX" && x.Key == bodyText {
			o.TX[bodyText] = x.Text
		}
	}
	return o, true, nil
}

// here is the outcome of a class with the values of one of its requests in the places where its rules matched: what a class
// has in common is what was captured, not the whole value.
func (l *Level) here(o referee.Outcome, v Values, w *Work) referee.Outcome {
	o.Places = maps.Clone(o.Places)
	for r := range l.common {
		if o.Matched[r.ID] == 0 {
			continue
		}
		places := o.Places[r.ID][:0:0]
		for i := range r.Targets {
			t := &r.Targets[i]
			for _, p := range v.Head(t.Variable) {
				if text := l.filter.seen(r, p.Text, w); takes(t, p.Key) && r.Test.Operator.Evaluate(idle{}, text) != r.Test.Negated {
					places = append(places, referee.Place{Variable: t.Variable.Name(), Key: p.Key, Text: text})
				}
			}
		}
		o.Places[r.ID] = places
	}
	return o
}

// world is what the tests here share.
type world struct {
	referee   *referee.Referee
	collector *referee.Collector
	engine    *referee.Engine
	waf       coraza.WAF
}

var shared = sync.OnceValues(func() (w world, err error) {
	directives, err := referee.ReadDirectives("../rules.go", "directives")
	if err != nil {
		return w, err
	}
	if w.referee, err = referee.Start(directives); err != nil {
		return w, err
	}
	if w.collector, err = referee.NewCollector(directives); err != nil {
		return w, err
	}
	if w.engine, err = referee.NewEngine(directives); err != nil {
		return w, err
	}
	w.waf, err = coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives))
	return w, err
})

func the(t testing.TB) world {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) candidate(t testing.TB) *candidate {
	t.Helper()
	rules, err := secrule.Read(w.waf)
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(rules, coreruleset.FS)
	if err != nil {
		t.Fatal(err)
	}
	return &candidate{engine: w.engine, filter: f, levels: map[string]*Level{}, known: map[*class]referee.Outcome{}, slow: map[int]int{}}
}

func TestSuiteSameVerdict(t *testing.T) {
	w := the(t)
	tests, err := referee.Suite()
	if err != nil {
		t.Fatal(err)
	}
	var requests []referee.Request
	for _, x := range tests {
		if x.Answered() {
			continue
		}
		r, err := w.collector.Collect(x.Message)
		if err != nil {
			continue
		}
		r.Name = x.ID
		r.Settings.Paranoia = x.Level
		requests = append(requests, r)
	}
	c := w.candidate(t)
	report, err := w.referee.Compare(c, requests, 1, 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	for _, f := range report.Findings {
		t.Error(f)
	}
	again, err := w.referee.Compare(c, requests, 1, 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(again, "late", c.late)
	for _, f := range again.Findings {
		t.Error(f)
	}
}
