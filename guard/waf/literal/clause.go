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

// newClause makes a clause of folded literals: each cut to its rarest part, those left out that another one implies.
// It is nil if a literal is empty, for then nothing is asked, and for an empty list.
func newClause(words []string) *clause {
	if len(words) == 0 {
		return nil
	}
	cut := make(map[string]bool, len(words))
	shortest, most := longest, 0
	for _, w := range words {
		if w == "" {
			return nil
		}
		w = rarest(w, enough/float64(len(words)))
		cut[w] = true
		shortest, most = min(shortest, len(w)), max(most, len(w))
	}
	c := &clause{}
	for w := range cut {
		if !implied(w, cut, shortest) {
			c.words = append(c.words, w)
			c.odds += odds(w)
		}
	}
	slices.Sort(c.words)
	return c
}

// implied says whether a proper part of the word is itself among the words.
func implied(word string, words map[string]bool, shortest int) bool {
	for n := shortest; n < len(word); n++ {
		for i := 0; i+n <= len(word); i++ {
			if words[word[i:i+n]] {
				return true
			}
		}
	}
	return false
}

// enough is the odds at which a clause is rare enough: what would follow in its literals is left out. In a kilobyte of
// ordinary text such a clause is expected to be met once in ten thousand times.
const enough = 3e-8

// rarest is a part of the word that is long enough: its first bytes when they are rare enough, otherwise the rarest
// part of the greatest length kept.
func rarest(word string, enough float64) string {
	for n := 4; n < min(len(word), longest); n++ {
		if odds(word[:n]) <= enough {
			return word[:n]
		}
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

// kept is how many clauses a node of an expression keeps for its parent to choose from.
const kept = 4

// like says whether most of what ordinary text meets c with meets o too, so that to ask both hardly tells more.
func (c *clause) like(o *clause) bool {
	if len(c.words)*len(o.words) > 4096 {
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

// choose keeps the n rarest clauses, leaving out those that are like a rarer one.
func choose(list []*clause, n int) []*clause {
	slices.SortStableFunc(list, func(a, b *clause) int {
		return cmp.Or(cmp.Compare(a.odds, b.odds), cmp.Compare(len(a.words), len(b.words)))
	})
	var out []*clause
	for _, c := range list {
		if len(out) == n {
			break
		}
		if !slices.ContainsFunc(out, c.like) {
			out = append(out, c)
		}
	}
	return out
}
