package confine

import (
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// Joined is joined, for tests.
func (s *Scope) Joined(variable variables.RuleVariable, key string) (values, names *Mask) {
	return s.joined(variable, key)
}

// Matches asks the engine's operator of a rule about a text.
func Matches(r *Rules, place int, text string) bool { return match(r, place, text) }

// Knows tells that a format stands in a table of grammars.
func Knows(format string) bool {
	_, text := grammars[format]
	_, number := numberFormats[format]
	return text || number
}

// Holds tells that the first place of an operation is said to let a text pass.
func Holds(op *openapi.Operation, text string) bool {
	b, p := newBuilder(), op.Places()[0]
	return b.of(b.valueOf(p)).all().holds(text)
}
