package response

import (
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// overlap is how much of what was looked at before is looked at again with the next piece, so that a rule finds what is
// divided between two.
const overlap = 4 << 10

// tries is how many places of one answer may look like a leak at first sight. More than that is no ordinary answer, and
// nobody may use it to spend our time.
const tries = 512

// finding is a leak.
type finding struct {
	kind  string
	at    int64  // of its first byte in the body
	shown string // masked
}

// scanner looks at a text piece by piece. Whether a leak is found depends on the text alone and not on the pieces; of each
// kind the first is told. Rules are asked about each piece with a part of the one before.
type scanner struct {
	rules  *Rules
	level  int             // of paranoia
	status string          // of the answer
	except map[string]bool // kinds, and numbers of rules, that are let be

	tail    string // of the text before
	base    int64  // where tail begins
	decided int64  // leaks that begin before are told or aren't there
	tried   int
	found   map[string]bool
	asked   map[int]bool  // rules that have matched
	budget  time.Duration // of processor time that rules may take for one piece; 0: any
	spent   bool          // not everything was looked at

	holds   func(kind string) bool // what looks like it must not leave before it is certain; nil: anything may
	pending int                    // how many bytes at the end of the last piece, and before it, must not
}

// read takes the next piece and gives the leaks that are certain now, and the rules that match.
func (s *scanner) read(piece []byte, last bool) (leaks []finding, matched []*rule) {
	text := s.tail + string(piece)
	until := len(text) - reach
	if last {
		until = len(text)
	}
	from := int(s.decided - s.base)
	note := func(kind string, begin, end int) {
		if s.found == nil {
			s.found = map[string]bool{}
		}
		s.found[kind] = true
		leaks = append(leaks, finding{kind, s.base + int64(begin), mask(kind, text[begin:end])})
	}
	open := len(text) // where something begins that isn't certain
	s.rules.finder.find(text, func(token, at int) bool {
		shape := &s.rules.shapes[token]
		if at < from || s.found[shape.kind] || s.except[shape.kind] {
			return true
		}
		if at >= until {
			if at < open && s.holding(shape.kind) && shape.open(text[max(0, at-reach):], min(at, reach)) {
				open = at
			}
			return true
		}
		begin := max(0, at-reach)
		if a, b := s.try(shape, text[begin:min(len(text), at+reach)], at-begin); b > 0 {
			note(shape.kind, begin+a, begin+b)
		}
		return true
	})
	if !s.found[Card] && !s.except[Card] && until > from {
		cards(text, from, until, func(begin, end int) {
			if !s.found[Card] {
				note(Card, begin, end)
			}
		})
	}
	if s.holding(Card) && !s.found[Card] && !s.except[Card] && !last {
		open = min(open, openCard(text, max(until, 0)))
	}
	s.pending = len(text) - open
	matched = s.ask(text)
	s.keep(text, until)
	return leaks, matched
}

func (s *scanner) holding(kind string) bool { return s.holds != nil && s.holds(kind) }

// keep remembers what the next piece needs.
func (s *scanner) keep(text string, until int) {
	s.decided = max(s.decided, s.base+int64(until))
	cut := max(0, min(len(text)-overlap, int(s.decided-s.base)-reach))
	s.tail, s.base = strings.Clone(text[cut:]), s.base+int64(cut)
}

// try asks a form, within the bounds of tries.
func (s *scanner) try(shape *shape, around string, hint int) (begin, end int) {
	if !shape.hinted(around, hint) {
		return 0, 0
	}
	if s.tried++; s.tried > tries {
		s.spent = true
		return 0, 0
	}
	return shape.at(around, hint)
}

// ask asks the rules for which the text holds what they need.
func (s *scanner) ask(text string) (matched []*rule) {
	work := s.rules.works.Get().(*literal.Work)
	defer s.rules.works.Put(work)
	found := s.rules.sieve.Scan(text, work)
	strange := strings.Contains(text, "\u017f") || strings.Contains(text, "\u212a")
	began := time.Duration(-1)
	for _, r := range s.rules.rules {
		if r.level > s.level || s.asked[r.id] || r.always || !r.may(text, found, strange) {
			continue
		}
		switch {
		case s.budget == 0:
		case began < 0:
			runtime.LockOSThread() // the time is the thread's
			defer runtime.UnlockOSThread()
			began = s.rules.clock()
		case s.rules.clock()-began > s.budget:
			s.spent = true
			return matched
		}
		if r.matches(text, s.status) {
			if s.asked == nil {
				s.asked = map[int]bool{}
			}
			s.asked[r.id] = true
			matched = append(matched, r)
		}
	}
	return matched
}

// may tells that the text holds what the rule needs.
func (r *rule) may(text string, found []uint64, strange bool) bool {
	for i := range r.tests {
		t := &r.tests[i]
		if t.angle && strings.IndexByte(text, '<') < 0 {
			return false
		}
		if len(t.branches) > 0 && !slices.ContainsFunc(t.branches, func(b branch) bool { return b.may(text, found, strange) }) {
			return false
		}
	}
	return true
}

// matches asks the engine's own operators, on what its own transformations make of the text.
func (r *rule) matches(text, status string) bool {
	for i := range r.tests {
		t := &r.tests[i]
		value := text
		if t.status {
			value = status
		}
		for _, change := range t.Chain.Functions {
			if changed, _, err := change(value); err == nil {
				value = changed
			}
		}
		if t.Test.Operator.Evaluate(idle{}, value) == t.Test.Negated {
			return false
		}
	}
	return true
}

// idle is the transaction that the engine's operators are given: nothing can be read from it or changed.
type idle struct{}

func (idle) ID() string                                              { return "" }
func (idle) Variables() plugintypes.TransactionVariables             { return nil }
func (idle) Collection(variables.RuleVariable) collection.Collection { return nil }
func (idle) Interrupt(*types.Interruption)                           {}
func (idle) DebugLogger() debuglog.Logger                            { return debuglog.Noop() }
func (idle) Capturing() bool                                         { return false }
func (idle) CaptureField(int, string)                                {}
func (idle) LastPhase() types.RulePhase                              { return types.PhaseResponseBody }
