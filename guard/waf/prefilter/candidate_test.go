package prefilter

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

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
	filter func(paranoia int) (*Filter, error)
	levels map[string]*Level
	known  map[*class]referee.Outcome
	slow   map[int]int       // rule -> how often it sent a request to the engine
	why    map[string]int    // why a class could not be learned -> how often
	off    off               // rules that are excepted, in the engine too
	scope  Scope             // or any exceptions, which the rules of the engine have by themselves
	spoil  func(l *Level)    // what a mutant does to each level
	twist  func(f *fed) *fed // and to what it reads
}

// off is a scope in which rules are off.
type off []int

func (o off) Off(rule int) bool                             { return slices.Contains(o, rule) }
func (off) Except(int, variables.RuleVariable, string) bool { return false }

// fed are the values of a referee's request.
type fed struct {
	head, all map[variables.RuleVariable][]view.Pair
	empty     view.View
	request   referee.Request
}

func (c *candidate) values(r referee.Request) *fed {
	f := &fed{request: r, head: map[variables.RuleVariable][]view.Pair{}, all: map[variables.RuleVariable][]view.Pair{}}
	f.empty.Reset()
	if c.twist != nil {
		f = c.twist(f)
	}
	return f
}

func (f *fed) TooMany() bool                           { return false }
func (f *fed) Of(v variables.RuleVariable) []view.Pair { return f.get(f.all, v, true) }
func (f *fed) Head(v variables.RuleVariable) []view.Pair {
	if v == variables.ReqbodyProcessor { // which ctl sets before the view is fed for phase 1
		return f.Of(v)
	}
	return f.get(f.head, v, false)
}

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
	s.Method, s.Media = "", "" // as the contract admits them, they go by what a class has in common
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
	f, err := c.filter(max(s.Paranoia, 1))
	if err != nil {
		return nil, err
	}
	scope := c.scope
	if scope == nil && c.off != nil {
		scope = c.off
	}
	l, err := f.NewLevel(scope, plain(c.engine.Without(neutral, c.off)))
	if err != nil {
		return nil, err
	}
	if c.spoil != nil {
		c.spoil(l)
	}
	c.levels[key] = l
	return l, nil
}

func plain(o referee.Outcome) Outcome {
	return Outcome{Denied: o.Interruption != nil || o.Failed != "", Matched: o.Matched, TX: o.TX}
}

// Judge is what the guard does.
func (c *candidate) Judge(r referee.Request) (referee.Outcome, bool, error) {
	o, fast, err := c.Quick(r)
	if err != nil || fast {
		return o, fast, err
	}
	l, err := c.level(r.Settings)
	if err != nil {
		return o, false, err
	}
	v, w := c.values(r), l.NewWork()
	if _, shown := l.Judge(v, w); shown {
		return o, false, fmt.Errorf("judged otherwise the second time")
	}
	if w.class != nil {
		c.slow[w.first]++
	}
	o = c.engine.Without(r, append(l.Narrow(v, w), c.off...))
	if r.Answered || r.Logging {
		return o, false, nil
	}
	err = l.Learn(v, w, plain(o))
	if errors.Is(err, errOnce) { // once more, since nobody asks twice here
		err = l.Learn(v, w, plain(o))
	}
	if err != nil && o.Interruption == nil {
		c.why[err.Error()]++
	}
	if _, shown := l.Judge(v, w); shown {
		if _, ok := c.known[w.class]; !ok {
			c.known[w.class] = o
		}
	}
	return o, false, nil
}

// claims tells that the filter by itself says of a request that a rule does not match it: the outcome is shown, or the rule
// is taken from the engine. Where no rule is named, any will do.
func (c *candidate) claims(r referee.Request, rule *secrule.Rule) (bool, error) {
	if r.Answered || r.Logging {
		return false, nil
	}
	l, err := c.level(r.Settings)
	if err != nil {
		return false, err
	}
	v, w := c.values(r), l.NewWork()
	if _, shown := l.Judge(v, w); shown {
		return true, nil
	}
	remove := l.Narrow(v, w)
	return rule == nil && len(remove) > 0 || rule != nil && slices.Contains(remove, rule.ID), nil
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
	v, w := c.values(r), l.NewWork()
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
// has in common is what was captured, not the whole value, nor the letters of a key.
func (l *Level) here(o referee.Outcome, v Values, w *Work) referee.Outcome {
	o.Places = maps.Clone(o.Places)
	for _, r := range l.filter.rules {
		named := slices.ContainsFunc(r.Targets, func(t secrule.Target) bool { return t.Variable == variables.RequestHeaders && !t.Count })
		if o.Matched[r.ID] == 0 || !l.common[r] && !named {
			continue
		}
		var places []referee.Place
		read := map[string]bool{}
		for i := range r.Targets {
			t := &r.Targets[i]
			read[t.Variable.Name()] = true
			for _, p := range v.Head(t.Variable) {
				if text := l.filter.seen(r, p.Text, w); takes(t, p.Key) && r.Test.Operator.Evaluate(secrule.Idle{}, text) != r.Test.Negated {
					places = append(places, referee.Place{Variable: t.Variable.Name(), Key: p.Key, Text: text})
				}
			}
		}
		for _, p := range o.Places[r.ID] {
			if !read[p.Variable] { // by its links
				places = append(places, p)
			}
		}
		o.Places[r.ID] = places
	}
	return o
}

// world is what tests under one set of rules share.
type world struct {
	referee   *referee.Referee
	collector *referee.Collector
	engine    *referee.Engine
	waf       coraza.WAF
	filters   *sync.Map // paranoia -> *Filter
}

// guards are the directives of the guard.
func guards(t testing.TB) string {
	t.Helper()
	directives, err := referee.ReadDirectives("../rules.go", "directives")
	if err != nil {
		t.Fatal(err)
	}
	return directives
}

func newWorld(directives string) (w world, err error) {
	w.filters = new(sync.Map)
	if w.referee, err = referee.Start(directives); err != nil {
		return w, err
	}
	if w.collector, err = referee.NewCollector(directives); err != nil {
		return w, err
	}
	if w.engine, err = referee.NewEngine(directives); err != nil {
		return w, err
	}
	w.waf, err = coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(referee.Releases()).WithDirectives(directives))
	return w, err
}

var shared = sync.OnceValues(func() (world, error) {
	directives, err := referee.ReadDirectives("../rules.go", "directives")
	if err != nil {
		return world{}, err
	}
	return newWorld(directives)
})

// the world of the Core Rule Set.
func the(t testing.TB) world {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) candidate() *candidate { return w.over(w.filter) }

// filter is the one of a level of paranoia, derived once.
func (w world) filter(paranoia int) (*Filter, error) {
	if found, ok := w.filters.Load(paranoia); ok {
		return found.(*Filter), nil
	}
	rules, err := secrule.Read(w.waf)
	if err != nil {
		return nil, err
	}
	f, err := New(rules, referee.Releases(), paranoia)
	if err == nil {
		w.filters.Store(paranoia, f)
	}
	return f, err
}

func (w world) over(filter func(paranoia int) (*Filter, error)) *candidate {
	return &candidate{engine: w.engine, filter: filter, levels: map[string]*Level{}, known: map[*class]referee.Outcome{}, slow: map[int]int{}, why: map[string]int{}}
}

// long tells whether there are hours.
func long() bool { return os.Getenv("GATEHOUSE_SOAK") != "" }

// every is one of how many cases a test takes: all of them when there are hours.
func every(usual int) int {
	if long() {
		return 1
	}
	return usual
}

func thin[T any](list []T, n, from int) (some []T) {
	for i := from % n; i < len(list); i += n {
		some = append(some, list[i])
	}
	return some
}
