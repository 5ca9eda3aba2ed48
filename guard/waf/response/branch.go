package response

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// An expression is a choice between many forms, and what must stand in a text for any of them is little: "driver" is a word
// of one of thirty forms of SQL errors, and a word of shops. So the choice is taken apart, and each form asked for its own.

// mostBranches is how many forms an expression is taken apart into.
const mostBranches = 128

// namesBytes finds bytes beyond ASCII by their number, in whatever way they are written.
var namesBytes = regexp.MustCompile(`\\x(?:[89a-fA-F]|\{)|[^\x00-\x7f]|\\[0-7]`)

// branch is one form of an expression: what the text must hold for it to match.
type branch struct {
	sieve  int     // its condition
	ending *ending // nil: nothing more is known
}

// ending is a word at the end of a form, which a word boundary follows, and what may stand right before it.
type ending struct {
	word   string // folded
	before [256]bool
}

// branches takes an expression apart. It gives nil when it can't.
func branches(expr string, sieve *literal.Builder) (list []branch) {
	tree, err := syntax.Parse("(?sm)"+expr, syntax.Perl)
	if err != nil || namesBytes.MatchString(expr) { // the engine reads those in another way
		return nil
	}
	for _, form := range expand(tree) {
		condition, err := literal.Expression(form.String())
		if err != nil {
			return nil
		}
		condition.Bare = nil // costs a second reading, and no rule for answers needs it
		list = append(list, branch{sieve.Add(condition), endingOf(form)})
	}
	return list
}

// expand gives forms of which one matches where the expression does: choices are drawn out of sequences and groups, as long
// as there are not too many.
func expand(re *syntax.Regexp) []*syntax.Regexp {
	switch re.Op {
	case syntax.OpCapture:
		return expand(re.Sub[0])
	case syntax.OpAlternate:
		var all []*syntax.Regexp
		for _, sub := range re.Sub {
			all = append(all, expand(sub)...)
		}
		if len(all) <= mostBranches {
			return all
		}
	case syntax.OpConcat:
		all := [][]*syntax.Regexp{nil}
		for _, sub := range re.Sub {
			choices := expand(sub)
			if len(all)*len(choices) > mostBranches {
				choices = []*syntax.Regexp{sub}
			}
			var next [][]*syntax.Regexp
			for _, begun := range all {
				for _, c := range choices {
					next = append(next, append(slices.Clip(begun), c))
				}
			}
			all = next
		}
		forms := make([]*syntax.Regexp, len(all))
		for i, parts := range all {
			forms[i] = &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags, Sub: parts}
		}
		return forms
	}
	return []*syntax.Regexp{re}
}

// endingOf finds a word at the end, of at least two letters, that a boundary follows and a class of bytes comes before.
func endingOf(form *syntax.Regexp) *ending {
	parts := flat(form)
	n := len(parts)
	if n < 3 || parts[n-1].Op != syntax.OpWordBoundary {
		return nil
	}
	var word []rune
	at := n - 2
	for ; at >= 0 && parts[at].Op == syntax.OpLiteral; at-- {
		word = append(slices.Clone(parts[at].Rune), word...)
	}
	if at < 0 || len(word) < 2 {
		return nil
	}
	for _, r := range word {
		if r >= 0x80 || !isWord(byte(r)) {
			return nil
		}
	}
	class := parts[at]
	if class.Op == syntax.OpPlus {
		class = class.Sub[0]
	}
	if class.Op != syntax.OpCharClass {
		return nil
	}
	e := &ending{word: fold(string(word))}
	for i := 0; i+1 < len(class.Rune); i += 2 {
		if class.Rune[i+1] >= 0x80 {
			return nil
		}
		for r := class.Rune[i]; r <= class.Rune[i+1]; r++ {
			e.before[r] = true
		}
	}
	return e
}

// flat is a form without the groups in it.
func flat(re *syntax.Regexp) (parts []*syntax.Regexp) {
	switch re.Op {
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			parts = append(parts, flat(sub)...)
		}
		return parts
	case syntax.OpCapture:
		return flat(re.Sub[0])
	case syntax.OpEmptyMatch:
		return nil
	}
	return []*syntax.Regexp{re}
}

// in tells that the word stands somewhere in the text with what must be before and behind it.
func (e *ending) in(text string) bool {
	small, large := e.word[0], byte(unicode.ToUpper(rune(e.word[0])))
	for i := 1; i+len(e.word) <= len(text); i++ {
		if c := text[i]; (c == small || c == large) && e.before[text[i-1]] && equalFold(text[i:i+len(e.word)], e.word) &&
			(i+len(e.word) == len(text) || !isWord(text[i+len(e.word)])) {
			return true
		}
	}
	return false
}

// may tells that the form may match. Strange says that the text holds letters that expressions take for s and k.
func (b *branch) may(text string, found []uint64, strange bool) bool {
	return found[b.sieve/64]>>(b.sieve%64)&1 == 1 && (b.ending == nil || strange || b.ending.in(text))
}
