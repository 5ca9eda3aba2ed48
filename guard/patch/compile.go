package patch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/expression"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Loader compiles patches. It keeps what conditions of the same form share; many goroutines may use it.
type Loader struct {
	cost uint64
	open [3]*expression.Environment // for conditions whose path parameters aren't known, by type of value
}

// NewLoader makes one; cost is the most that a condition may cost, 0 for the default.
func NewLoader(cost uint64) (*Loader, error) {
	if cost == 0 {
		cost = expression.DefaultCost
	}
	l := &Loader{cost: cost}
	for _, t := range []expression.Type{expression.Nothing, expression.Text, expression.Anything} {
		var err error
		if l.open[t], err = expression.New(expression.Scope{Value: t, Cost: cost}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Compiled is a patch that requests can be judged by.
type Compiled struct {
	Patch
	place  location
	when   *expression.Condition // nil: that anything stands there
	broken error                 // why nobody can judge by it: every request that it could be about is denied
	most   uint64                // steps that judging one request may take
	lift   string                // how it is lifted
	where  string                // where it was written
}

// Compile makes a patch ready, without knowing the API: for what is in force already.
func (l *Loader) Compile(p Patch) (*Compiled, error) {
	c, list := l.compile(p, nil)
	return c, list.Err()
}

// Check lists what is wrong with a patch of an API: an operation that it doesn't have, a parameter that its path doesn't have,
// a body that it never reads, a condition that can't be. Fresh is asked of what is added now.
func (l *Loader) Check(p Patch, api *gate.API, now time.Time, fresh bool) (*Compiled, error) {
	list := p.check(now, fresh)
	var known []string
	if op := find(api, p.Operation); op != nil {
		known = parameters(op.Template)
	} else if p.Operation != "" {
		list.Add("operation", mistake.Nearest(p.Operation, operations(api)), "API %q has no operation %q", api.Name, p.Operation)
	}
	c, more := l.compile(p, known)
	list = append(list, more...)
	if c != nil {
		list = append(list, c.place.unseen()...)
	}
	if c != nil && p.Operation != "" && known != nil {
		list = append(list, c.reaches(find(api, p.Operation), known)...)
	}
	return c, list.Err()
}

// compile reads place and condition; params are the names that the path has, nil when they aren't known.
func (l *Loader) compile(p Patch, params []string) (*Compiled, mistake.List) {
	var list mistake.List
	place, err := readLocation(p.At)
	list.Under("at", err)
	if err != nil {
		return nil, list
	}
	c := &Compiled{Patch: p, place: place, most: l.cost}
	switch {
	case p.When == "" && place.kind == inRequest:
		list.Add("when", "when: 'true'", "a patch without a place and without a condition would close the operation; if that is meant, say so")
		return c, list
	case p.When == "":
		return c, nil
	}
	env := l.open[place.typed()]
	if params != nil {
		if env, err = expression.New(expression.Scope{Params: params, Value: place.typed(), Cost: l.cost}); err != nil {
			list.Under("when", err)
			return c, list
		}
	}
	c.when, err = env.Compile(p.When)
	var faults expression.Faults
	if errors.As(err, &faults) {
		list = append(list, faults.Mistakes("when")...)
	} else {
		list.Under("when", err)
	}
	return c, list
}

// reaches lists why the patch would never look where it says.
func (c *Compiled) reaches(op *gate.Operation, params []string) (list mistake.List) {
	if c.place.kind == inPath && c.place.name != "" && c.place.name != "*" && !slices.Contains(params, c.place.name) {
		near := mistake.Nearest(c.place.name, params)
		if near != "" {
			near = "at: path." + near
		}
		list.Add("at", near, "the path %s has no parameter %q", op.Template, c.place.name)
	}
	if c.readsBody() && streams(op) {
		list.Add("at", "", "%s is a %s stream, whose body nobody reads", op.Key, op.Stream.Kind)
	}
	return list
}

// readsBody tells that the body must be read to judge by the patch.
func (c *Compiled) readsBody() bool {
	return c.place.kind == inBody || c.when != nil && c.when.Reads("body")
}

// streams tells that an operation's body passes unread, whoever asks.
func streams(op *gate.Operation) bool { return op.Stream.Kind != "" && op.Stream.Kind != "sse" }

// find gives the operation that a patch names.
func find(api *gate.API, name string) *gate.Operation {
	if name == "" {
		return nil
	}
	for _, op := range api.Operations {
		if names(name, op) {
			return op
		}
	}
	return nil
}

func operations(api *gate.API) []string {
	var list []string
	for _, op := range api.Operations {
		list = append(list, op.Key)
	}
	return list
}

// parameters lists the names in a path's template; it is never nil.
func parameters(template string) []string {
	list := []string{}
	for rest := template; ; {
		_, after, found := strings.Cut(rest, "{")
		name, more, closed := strings.Cut(after, "}")
		if !found || !closed {
			return list
		}
		list, rest = append(list, name), more
	}
}

// judge tells whether the patch matches the request, or why that can't be told.
func (c *Compiled) judge(x *gate.Exchange, s *expression.Subject) (matches bool, err error) {
	if c.broken != nil {
		return false, c.broken
	}
	var failed error
	until := s.Spent + c.most // of all values together: an adversary chooses how many there are
	err = c.place.values(x, s, func(v expression.Value) bool {
		if c.when == nil {
			matches = true
			return true
		}
		yes, err := false, expression.ErrCost
		if s.Spent < until {
			yes, err = c.when.HoldsFor(s, v)
		}
		if err != nil && failed == nil {
			failed = err // another value may still match, which says more
		}
		matches = matches || yes
		return yes || errors.Is(err, expression.ErrCost)
	})
	if matches {
		return true, nil
	}
	if failed == nil {
		failed = err
	}
	return false, failed
}

// verdict is what a match, or a failure to judge, comes to.
func (c *Compiled) verdict(failure error) gate.Verdict {
	v := gate.Deny(gate.Attack, Denied, "patch %s: %s", c.ID, c.about())
	if failure != nil {
		v = gate.Deny(gate.Attack, Failed, "patch %s can't be judged (%v), so it denies: %s", c.ID, failure, c.about())
	}
	return v.At("patch " + c.ID).Fixed(c.lift + "  # " + c.where)
}

// about tells what the patch is for.
func (c *Compiled) about() string {
	at := c.At
	if at == "" {
		at = "request"
	}
	text := fmt.Sprintf("%s; at %s, until %s, by %s", c.Reason, at, c.Until.UTC().Format("2006-01-02"), c.Author)
	if c.Finding != "" {
		text += ", for " + c.Finding
	}
	return text
}

// Added makes a patch ready that was added by command. It always gives one: a patch that this version can't load, since a newer
// one wrote it, denies every request that it could be about, and says so.
func (l *Loader) Added(api string, p Patch) *Compiled {
	c, err := l.Compile(p)
	if err != nil {
		return Unloaded(api, p, err)
	}
	return c.added(api)
}

// Unloaded is a patch that was added by command and of which this version doesn't understand something: it denies every request
// that it could be about.
func Unloaded(api string, p Patch, why error) *Compiled {
	return (&Compiled{Patch: p, broken: fmt.Errorf("this version can't load it: %w", why)}).added(api)
}

func (c *Compiled) added(api string) *Compiled {
	c.lift, c.where = "gatehouse patch remove "+c.ID+" --api "+api, "added by command"
	return c
}

// Broken tells why nobody can judge by the patch, or nil.
func (c *Compiled) Broken() error { return c.broken }

// About tells whether the patch is about an operation of its API.
func (c *Compiled) About(op *gate.Operation) bool { return op != nil && names(c.Operation, op) }

func names(written string, op *gate.Operation) bool {
	return written == "" || op.Key == written || op.Method+" "+op.Template == written
}

// Reaches tells whether an API has an operation that a patch is about.
func Reaches(p Patch, api *gate.API) bool {
	return slices.ContainsFunc(api.Operations, func(op *gate.Operation) bool { return names(p.Operation, op) })
}

// Try judges one request, which is for an operation that the patch is about, as if the patch were in force and blocked. The
// error says why it can't be judged, which denies too.
func (c *Compiled) Try(ctx context.Context, x *gate.Exchange) (gate.Verdict, error) {
	s := subject(x)
	if c.readsBody() && !streams(x.Operation) {
		tree, v := x.Body(ctx)
		if !v.Allowed() {
			return v, errors.New(v.Detail)
		}
		s.Body = tree
	}
	matches, err := c.judge(x, &s)
	if !matches && err == nil {
		return gate.Allow(), nil
	}
	return c.verdict(err), err
}

// Finds tells whether anything stands at the patch's place in a request that was tried.
func (c *Compiled) Finds(x *gate.Exchange) (found bool) {
	s := subject(x)
	s.Body = x.ReadBody()
	err := c.place.values(x, &s, func(expression.Value) bool { found = true; return true })
	return found || err != nil
}

// Costs tells in words what judging a request takes at most.
func (c *Compiled) Costs() string {
	switch {
	case c.when == nil:
		return ""
	case c.when.Cost().Bounded:
		return fmt.Sprintf("at most %d steps for each value, whatever is sent", c.when.Cost().Most)
	}
	return fmt.Sprintf("grows with what is sent; a request is denied after %d steps", c.most)
}

// Notes tells what whoever adds the patch may not have meant.
func (c *Compiled) Notes(api *gate.API) (list []string) {
	if c.Operation == "" && len(api.Operations) > 1 {
		list = append(list, fmt.Sprintf("it is about every one of the %d operations of %s", len(api.Operations), api.Name))
	}
	for _, op := range api.Operations {
		if c.readsBody() && c.About(op) && streams(op) {
			list = append(list, fmt.Sprintf("%s is a %s stream, whose body nobody reads: there it sees none", op.Key, op.Stream.Kind))
		}
	}
	if c.place.kind != inBody || len(c.place.tokens) == 0 {
		return list
	}
	for _, op := range api.Operations {
		if !c.About(op) || op.Contract == nil {
			continue
		}
		for _, b := range op.Contract.Bodies {
			if b.Kind != body.JSON && b.Kind != body.Form && b.Kind != body.Multipart {
				list = append(list, fmt.Sprintf("%s also takes %s, which has no structure to look into: such requests will be denied", op.Key, b.MediaType))
			}
		}
	}
	return list
}
