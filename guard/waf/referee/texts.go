package referee

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
	"unicode"
)

// texts makes texts that an expression matches, such that every branch of every alternative is in one of them, as far as
// most suffice. What stands for anything is short. Anchors and boundaries are not looked at.
func texts(expression string, most int, r *rand.Rand) ([]string, error) {
	tree, err := syntax.Parse("(?sm)"+expression, syntax.Perl)
	if err != nil {
		return nil, err
	}
	w := writer{taken: map[*syntax.Regexp][]int{}, r: r}
	binary := strings.Contains(expression, `\x`)
	known := map[string]bool{}
	var list []string
	for range most {
		w.left = map[*syntax.Regexp]int{}
		untried := w.count(tree)
		var b strings.Builder
		w.write(&b, tree, 0)
		if text := b.String(); !known[text] && len(text) < 2000 {
			known[text] = true
			list = append(list, text)
			if raw, ok := bytesOf(text); ok && binary {
				list = append(list, raw)
			}
		}
		if untried == 0 && len(list) > 3 {
			break
		}
	}
	return list, nil
}

// bytesOf writes runes below 256 as single bytes, as an expression over bytes means them.
func bytesOf(text string) (string, bool) {
	var b []byte
	beyond := false
	for _, c := range text {
		if c > 0xff {
			return "", false
		}
		beyond = beyond || c > 0x7f
		b = append(b, byte(c))
	}
	return string(b), beyond
}

// writer goes, at every choice, where most has not been tried yet.
type writer struct {
	taken map[*syntax.Regexp][]int // how often each branch of a choice was taken
	left  map[*syntax.Regexp]int   // untried branches in a part and below it
	r     *rand.Rand
}

// count fills in what is left.
func (w *writer) count(e *syntax.Regexp) int {
	n := 0
	for _, s := range e.Sub {
		n += w.count(s)
	}
	for i := range ways(e) {
		if taken := w.taken[e]; taken == nil || taken[i] == 0 {
			n++
		}
	}
	w.left[e] = n
	return n
}

// ways is how many ways there are to go on at an expression: those of an alternative, and those to repeat.
func ways(e *syntax.Regexp) int {
	switch e.Op {
	case syntax.OpAlternate:
		return len(e.Sub)
	case syntax.OpCharClass:
		if n := len(members(e)); n <= 40 {
			return n
		}
	case syntax.OpStar:
		return 3
	case syntax.OpPlus, syntax.OpQuest:
		return 2
	case syntax.OpRepeat:
		if e.Max < 0 {
			return 3
		}
		return min(e.Max-e.Min, 2) + 1
	}
	return 0
}

// branch picks one of n ways, rather one that leads to what is untried.
func (w *writer) branch(e *syntax.Regexp, n int) int {
	if w.taken[e] == nil {
		w.taken[e] = make([]int, n)
	}
	taken := w.taken[e]
	below := func(i int) int {
		switch {
		case e.Op == syntax.OpAlternate:
			return w.left[e.Sub[i]]
		case len(e.Sub) == 1 && i > 0:
			return w.left[e.Sub[0]]
		}
		return 0
	}
	best := w.r.IntN(n)
	for i := range n {
		if more := below(i) - below(best); more > 0 || more == 0 && taken[i] < taken[best] {
			best = i
		}
	}
	taken[best]++
	return best
}

func (w *writer) write(b *strings.Builder, e *syntax.Regexp, depth int) {
	if depth > 200 || b.Len() > 4000 {
		return
	}
	times := func(least int) {
		for range least + w.branch(e, ways(e)) {
			w.write(b, e.Sub[0], depth+1)
		}
	}
	switch e.Op {
	case syntax.OpLiteral:
		for _, c := range e.Rune {
			b.WriteRune(w.folded(c, e.Flags))
		}
	case syntax.OpCharClass:
		b.WriteRune(w.member(e))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte("ax0 _-"[w.r.IntN(6)])
	case syntax.OpCapture:
		w.write(b, e.Sub[0], depth+1)
	case syntax.OpConcat:
		for _, s := range e.Sub {
			w.write(b, s, depth+1)
		}
	case syntax.OpAlternate:
		w.write(b, e.Sub[w.branch(e, len(e.Sub))], depth+1)
	case syntax.OpStar:
		times(0)
	case syntax.OpPlus:
		times(1)
	case syntax.OpQuest:
		times(0)
	case syntax.OpRepeat:
		times(e.Min)
	}
}

// folded writes a letter of an expression that knows no case in another case at times, the odd ones (ſ for s, K for k)
// among them.
func (w *writer) folded(c rune, flags syntax.Flags) rune {
	if flags&syntax.FoldCase == 0 {
		return c
	}
	switch w.r.IntN(12) {
	case 0:
		return unicode.SimpleFold(c)
	case 1:
		return unicode.SimpleFold(unicode.SimpleFold(c))
	}
	return unicode.ToLower(c)
}

// member picks a rune of a class.
func (w *writer) member(e *syntax.Regexp) rune {
	all := members(e)
	switch {
	case len(all) == 0:
		return 'x'
	case len(all) > 40:
		return all[w.r.IntN(len(all))]
	}
	return all[w.branch(e, len(all))]
}

// members lists the runes of a class, and of its large ranges the ends.
func members(e *syntax.Regexp) (all []rune) {
	for i := 0; i+1 < len(e.Rune); i += 2 {
		low, high := e.Rune[i], e.Rune[i+1]
		if high-low < 16 {
			for c := low; c <= high; c++ {
				all = append(all, c)
			}
			continue
		}
		all = append(all, low, high)
		if low <= 'a' && high >= 'a' {
			all = append(all, 'a', 'x')
		}
	}
	return all
}
