package literal

import (
	"cmp"
	"slices"
	"strings"
)

// longest is the length to which literals are cut. What lies beyond hardly tells more, and short literals keep the
// automaton small.
const longest = 12

// A clause is a list of literals of which at least one must stand in the text, and how often, by the model of ordinary
// text, one of them begins at a given place.
type clause struct {
	words []string
	odds  float64
}

// newClause makes a clause of folded literals: each cut to a part that is rare enough, those left out that another one
// implies. It is nil if a literal is empty, for then nothing is asked, and for an empty list.
func newClause(words []string) *clause {
	if len(words) == 0 {
		return nil
	}
	list := make([]string, 0, len(words))
	for _, w := range words {
		if w == "" {
			return nil
		}
		list = append(list, rarest(w, enough/float64(len(words))))
	}
	list = unique(list)
	c := &clause{words: list[:0]}
	for _, w := range list { // a word comes right before those that it begins
		if n := len(c.words); n == 0 || !strings.HasPrefix(w, c.words[n-1]) {
			c.words = append(c.words, w)
		}
	}
	if len(c.words) <= fewWords {
		c.words = slices.DeleteFunc(slices.Clone(c.words), func(w string) bool {
			return slices.ContainsFunc(c.words, func(v string) bool { return v != w && strings.Contains(w, v) })
		})
	}
	for _, w := range c.words {
		c.odds += odds(w)
	}
	return c
}

// fewWords is up to how many literals each is compared with each.
const fewWords = 64

// enough is the odds at which a clause is rare enough: what would follow in its literals is left out. In a kilobyte of
// ordinary text such a clause is expected to be met once in ten thousand times.
const enough = 3e-8

// rarest is a part of the word that is long enough: its first bytes when they are rare enough, otherwise the rarest
// part of the greatest length kept.
func rarest(word string, enough float64) string {
	if len(word) < 5 {
		return word
	}
	o := odds(word[:4])
	for n := 4; n < min(len(word), longest); n++ {
		if o <= enough {
			return word[:n]
		}
		o *= oddsAfter(word[n-1], word[n])
	}
	if len(word) <= longest {
		return word
	}
	best := word[:longest]
	for i := 1; i+longest <= len(word); i++ {
		if part := word[i : i+longest]; odds(part) < odds(best) {
			best = part
		}
	}
	return best
}

// implies says whether o is met wherever c is.
func (c *clause) implies(o *clause) bool {
	if len(c.words)*len(o.words) > fewWords*fewWords {
		return false
	}
	for _, w := range c.words {
		if !slices.ContainsFunc(o.words, func(part string) bool { return strings.Contains(w, part) }) {
			return false
		}
	}
	return true
}

// like says whether most of what ordinary text meets c with meets o too, so that to ask both hardly tells more.
func (c *clause) like(o *clause) bool {
	if len(c.words)*len(o.words) > fewWords*fewWords {
		return len(c.words) == len(o.words)
	}
	shared := 0.0
	for _, w := range c.words {
		if slices.ContainsFunc(o.words, func(v string) bool { return strings.Contains(w, v) || strings.Contains(v, w) }) {
			shared += odds(w)
		}
	}
	return shared > 0.7*c.odds
}

// choose keeps the n rarest clauses, leaving out those that a rarer one implies or is like.
func choose(list []*clause, n int) []*clause {
	slices.SortStableFunc(list, func(a, b *clause) int {
		return cmp.Or(cmp.Compare(a.odds, b.odds), cmp.Compare(len(a.words), len(b.words)))
	})
	var out []*clause
	for _, c := range list {
		if len(out) == n {
			break
		}
		if !slices.ContainsFunc(out, func(o *clause) bool { return o.implies(c) || c.like(o) }) {
			out = append(out, c)
		}
	}
	return out
}

// kept is how many clauses a node of an expression keeps for its parent to choose from.
const kept = 4
