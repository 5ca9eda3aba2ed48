package confine

import "github.com/corazawaf/coraza/v3/types/variables"

// Joined is joined, for tests.
func (s *Scope) Joined(variable variables.RuleVariable, key string) (values, names *Mask) {
	return s.joined(variable, key)
}

// Matches asks the engine's operator of a rule about a text.
func Matches(r *Rules, place int, text string) bool { return match(r, place, text) }
