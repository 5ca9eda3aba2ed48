package literal

import "regexp/syntax"

// filler holds the bytes that shells ignore between the letters of a command's name, and that the rules against shell
// commands therefore allow between any two letters: c'a"t and c\at are cat. What is deleted from the text and from the
// expression alike stays necessary: if the expression matches the text, then what is left of the expression, read with
// its classes and literals without these bytes, matches what is left of the text.
const filler = `"'[\^`

// The bytes of filler as bits of a ByteSet.
const (
	fillerLow  = 1<<'"' | 1<<'\''
	fillerHigh = 1<<('['-64) | 1<<('\\'-64) | 1<<('^'-64)
)

// Filler is the set of the bytes that Condition.Bare leaves out of the text.
func Filler() ByteSet { return ByteSet{fillerLow, fillerHigh} }

// isFiller says whether the byte is left out.
func isFiller(c byte) bool {
	return c == '"' || c == '\'' || c == '[' || c == '\\' || c == '^'
}

// allowsFiller says whether the expression allows filler somewhere, which is when reading without it can help.
func allowsFiller(re *syntax.Regexp) bool {
	if re.Op == syntax.OpStar || re.Op == syntax.OpQuest {
		sub := re.Sub[0]
		for _, c := range filler {
			if sub.Op == syntax.OpCharClass && len(sub.Rune) <= 12 && holds(sub.Rune, c) ||
				sub.Op == syntax.OpLiteral && len(sub.Rune) == 1 && sub.Rune[0] == c {
				return true
			}
		}
	}
	for _, sub := range re.Sub {
		if allowsFiller(sub) {
			return true
		}
	}
	return false
}

// holds says whether a class, given as pairs of bounds, holds the rune.
func holds(pairs []rune, r rune) bool {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] <= r && r <= pairs[i+1] {
			return true
		}
	}
	return false
}
