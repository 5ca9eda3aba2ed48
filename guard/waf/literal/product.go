package literal

import (
	"math"
	"slices"
)

// cross is every word of a followed by every word of b, or nil if they would be too many.
func cross(a, b []string) []string {
	if tooMany(len(a), len(b)) {
		return nil
	}
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, x+y)
		}
	}
	return unique(out)
}

// crossHead is cross with as many of the first bytes of b as its bound allows; nothing may be put behind its words.
func crossHead(a, b []string) []string {
	for n := 4; n > 0 && tooMany(len(a), len(b)); n-- {
		b = unique(cut(b, n, true))
	}
	return cross(a, b)
}

// tooMany says whether a product is too large to spell out.
func tooMany(a, b int) bool {
	if a <= 1 || b <= 1 {
		return a*b > maxExact
	}
	return a*b > maxCross
}

// shorten keeps at most limit words, by cutting them to fewer and fewer first (or last) bytes.
func shorten(words []string, first bool, limit int) []string {
	words = unique(cut(words, maxWindow, first))
	for n := 6; n > 0 && len(words) > limit; n-- {
		words = unique(cut(words, n, first))
	}
	if len(words) > limit {
		return []string{""}
	}
	return words
}

// cut is the words, none longer than n: their first bytes, or their last.
func cut(words []string, n int, first bool) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		switch {
		case len(w) <= n:
		case first:
			w = w[:n]
		default:
			w = w[len(w)-n:]
		}
		out = append(out, w)
	}
	return out
}

// unique sorts the words and leaves out doubles. It may reorder the list it is given.
func unique(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}

// shortestOf is the length of the shortest word.
func shortestOf(words []string) int {
	n := math.MaxInt
	for _, w := range words {
		n = min(n, len(w))
	}
	return n
}
