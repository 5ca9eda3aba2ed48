package prefilter

import (
	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// Work is the room that judging one request needs. It is used again for the next, by one goroutine at a time.
type Work struct {
	filter *Filter // that it was made for
	sieve  *literal.Work
	steps  identity.Work // of the value that is looked at
	links  identity.Work // of the values that links are asked about meanwhile
	key    []byte
	fields []string
	class  *class // of the request that was judged last
	first  int    // the rule that was not shown not to match
	met    []read // conditions that a value meets, by the number of its form; 0 is as it is
	texts  []string
	values []value // that meet the condition of some test
	pairs  []pair  // of a test and a value that meets its condition
	heads  []state // of each head
	budget budget
	find   Find                   // what is known of values; nil for nothing
	late   func(text string) bool // the time is up; nil for no end
}

// Watch says when to give up: late is told each value that is looked at, until Forget. Nothing is shown of a request for
// which the time was up.
func (w *Work) Watch(late func(text string) bool) { w.late = late }

// Know says what is known of the values of the next requests, until Forget.
func (w *Work) Know(find Find) { w.find = find }

// value is a value of a request, on its way past the tests.
type value struct {
	base   base
	key    string
	text   string
	traits identity.Traits
	scope  *scope
	dirty  bool // some test matched it, or was not asked about it
}

// pair is a test that must be asked about a value.
type pair struct {
	value int32
	next  int32  // of the same test, 0 for none; pairs count from 1
	form  string // the value as the test sees it
}

// state is what is known of a head in this request.
type state struct {
	first int32 // of its pairs
	hit   bool  // it matched a value, or was not asked about one
	asked bool  // about its links
	fails bool  // its chain fails
}

// read is what is known of one form of a value.
type read struct {
	done bool
	bits []uint64
}

// NewWork makes room.
func (f *Filter) NewWork() *Work { return &Work{filter: f, sieve: f.sieve.NewWork()} }

// Fits tells that the room was made for this level's filter.
func (l *Level) Fits(w *Work) bool { return w != nil && w.filter == l.filter }

// Forget drops what is left of the last request.
func (w *Work) Forget() {
	w.steps.Reset()
	w.links.Reset()
	clear(w.fields[:cap(w.fields)])
	clear(w.texts[:cap(w.texts)])
	clear(w.key[:cap(w.key)])
	w.values, w.pairs = emptied(w.values), emptied(w.pairs)
	w.class, w.find, w.late = nil, nil, nil
}

// emptied is room for the next, without what was in it; more than most requests need is given back.
func emptied[T any](list []T) []T {
	if cap(list) > 1<<12 {
		return nil
	}
	clear(list[:cap(list)])
	return list[:0]
}

// budget weighs what the engine would do against what is done here, in bytes times tests. A test that is asked here and
// does not match need not be asked by the engine; one that matches is asked twice. So what may be spent on tests that match
// is a small part of what the engine would ask, and a request that can't be shown harmless costs little more than the engine
// alone, whoever made it up.
type budget struct{ engine, links, waste int64 }

// What the budget counts with.
const (
	perTest = 64      // bytes: what a test costs beside those of its value
	leeway  = 1 << 12 // may be spent on any request
	share   = 16      // one in so many of what the engine would do may be spent beside
)

func cost(text string) int64 { return int64(len(text) + perTest) }

// most is what may be wasted on tests that match, and as much again be done for links.
func (b *budget) most() int64 { return leeway + b.engine/share }

// spend pays for asking a link.
func (b *budget) spend(text string) bool {
	b.links += cost(text)
	return b.links <= b.most()
}

// begin makes the work ready for a request.
func (w *Work) begin(p *plan) {
	w.budget = budget{}
	w.heads = append(w.heads[:0], make([]state, p.heads)...)
	w.values, w.pairs = w.values[:0], append(w.pairs[:0], pair{})
}

// miss notes a head that can't be shown not to match.
func (w *Work) miss(h *head) {
	w.heads[h.number].hit = true
	if w.first == 0 {
		w.first = h.rule.ID
	}
}

// giveUp notes that nothing was shown.
func (w *Work) giveUp() {
	for i := range w.heads {
		w.heads[i].hit = true
	}
}

// First is the number of the rule that the last judgement could not show not to match.
func (w *Work) First() int { return w.first }
