package waf

import (
	"slices"
	"strconv"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// Bounds of what is looked at under further codings. JSON in a text and Base64 become no longer than they were, two levels of
// them hardly, and Unicode's compatible forms only where somebody chose the signs for that: who needs more than four times
// the bytes of the arguments means no good.
const (
	leastNested  = 256 << 10
	nestedFactor = 4
	mostNested   = 32 << 20
	mostTexts    = 50_000
)

// carrier is a request that nobody could mind, whose form holds what was found under further codings.
func carrier() *canon.Request {
	return &canon.Request{
		Method: "POST", Scheme: "https", Host: "api.example", Path: "/", Segments: []string{""}, Major: 1, Length: 1,
		Fields: map[string][]string{"Accept": {"*/*"}, "User-Agent": {"neutral"}, "Content-Type": {"application/x-www-form-urlencoded"}},
	}
}

// layers goes over what lies under further codings in the values of a request, apart for the values of which the contract says
// the same, since what is in a value goes where the value goes. First comes what nothing is said of, and then the others, which
// come up as their values are met.
type layers struct {
	sinks  confined
	others []*confine.Mask
	at     int // 0 for what nothing is said of, else one more than the place in others
}

// next goes to the next one, and is false when there is none.
func (l *layers) next() bool { l.at++; return l.at <= len(l.others) }

// mask is what the contract says of this one.
func (l *layers) mask() *confine.Mask {
	if l.at == 0 {
		return nil
	}
	return l.others[l.at-1]
}

func (l *layers) inside() inside {
	if m := l.mask(); m != nil {
		return inside{m, l.sinks.Numbers(m)}
	}
	return inside{}
}

// has tells that a value belongs to this one.
func (l *layers) has(variable variables.RuleVariable, key string) bool {
	m := l.sinks.Inside(variable, key)
	if m != nil && !slices.Contains(l.others, m) {
		l.others = append(l.others, m)
	}
	return m == l.mask()
}

// deeper is a request of its own that holds what lies under further codings in a layer of the values of a request, as the room's
// view shows it; nil when nothing does. The place is told by the name: json.a.base64. Whole is false when there is more than is
// looked into.
func (g *Guard) deeper(x *gate.Exchange, r *room, l *layers) (inner *gate.Exchange, whole bool) {
	if g.cfg.Nested != nil && !*g.cfg.Nested {
		return nil, true
	}
	var only func(variables.RuleVariable, string) bool
	if l.sinks.sinks {
		only = l.has
	}
	size, _ := strconv.Atoi(r.view.Single(variables.ArgsCombinedSize))
	r.pairs, whole = r.view.Extra(r.pairs[:0], view.Bound{Values: mostTexts, Bytes: min(leastNested+nestedFactor*size, mostNested)}, only)
	if !whole || len(r.pairs) == 0 {
		return nil, whole
	}
	r.form = r.form[:0]
	for _, p := range r.pairs {
		r.form = append(r.form, canon.Pair{Name: p.Key, Value: p.Text})
	}
	inner = &gate.Exchange{ID: x.ID, Source: x.Source, API: x.API, Operation: x.Operation, Request: g.rules.carrier}
	r.nested.Fill(inner, &body.Tree{Kind: body.Form, Form: r.form})
	return inner, !r.nested.TooMany()
}

// nested judges what lies under further codings in a request that was allowed. It is apart, so that no score of one is added
// to the other's, and the verdict on what the rules read by themselves stays what it is.
func (g *Guard) nested(x *gate.Exchange, r *room, applied seclang.Applied, allowed gate.Verdict) gate.Verdict {
	r.find = nil // what a value is made of says nothing of what it holds
	for l, more := (&layers{sinks: g.sinks(x)}), true; more; more = l.next() {
		inner, whole := g.deeper(x, r, l)
		switch {
		case !whole:
			return gate.Deny(gate.TooLarge, ReasonNested, "the values hold more codings inside each other than are looked into").Fixed("nested: false  # guards.waf")
		case inner == nil:
			continue
		}
		in := l.inside()
		r.meter.besides(func() { g.level(inner, applied, in) }) // it is made for the first request, and kept
		v, _ := g.decide(inner, &r.nested, r, applied, in)
		if v.Reason == ReasonRule {
			v.Reason = ReasonNested
		}
		for i := range v.Noted {
			v.Noted[i].Reason = ReasonNested
		}
		if !v.Allowed() {
			return v
		}
		allowed.Noted = append(allowed.Noted, v.Noted...)
	}
	return allowed
}

// keepNested is up to how many values room is kept for.
const keepNested = 1024

// forgetNested drops what was found under further codings.
func (n *room) forgetNested() {
	n.nested.Reset()
	clear(n.pairs[:cap(n.pairs)])
	clear(n.form[:cap(n.form)])
	n.form = n.form[:0]
	if cap(n.pairs) > keepNested {
		n.pairs, n.form = nil, nil
	}
}
