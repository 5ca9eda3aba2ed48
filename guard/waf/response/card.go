package response

import "strings"

// Numbers of payment cards (ISO/IEC 7812). Thirteen to nineteen digits with a right check digit are nothing rare: one in ten
// of all numbers of that length has one. So a number counts only when it begins like a card's of its length, stands alone,
// and is either written in a card's groups or stands near a word that speaks of cards.

// near is how far a word may stand from the number that it explains.
const near = 96

// cards calls hit for each number of a card that begins in text, with its place. Of text, only what begins from the place
// from on and before until is looked at; what stands around explains it.
func cards(text string, from, until int, hit func(begin, end int)) {
	var digits [19]byte
	for i := from; i < until; {
		// A number of 13 digits with single separators holds a digit in every two bytes: where two bytes
		// ahead are none, nothing that begins here and up to them can be long enough.
		if i+13 > len(text) {
			return
		}
		if !isDigit(text[i+11]) && !isDigit(text[i+12]) {
			i += 12
			continue
		}
		if !isDigit(text[i]) || i > 0 && (isDigit(text[i-1]) || joined(text, i)) {
			i++
			continue
		}
		end, n, grouped := number(text, i, &digits)
		if end > 0 && isCard(digits[:n]) && (grouped || explained(text, i, end)) {
			hit(i, end)
		}
		i = max(end, i+1)
	}
}

// openCard is where a number begins that may be a card's, in what begins from the place from on: one that looks so, or one
// that goes on behind the text. It is the text's end when there is none.
func openCard(text string, from int) (begin int) {
	begin = len(text)
	digits := 0
	for i := len(text); i > from && (isDigit(text[i-1]) || text[i-1] == ' ' || text[i-1] == '-'); i-- {
		if isDigit(text[i-1]) {
			if digits++; digits >= 6 {
				begin = i - 1
			}
		}
	}
	cards(text, from, len(text), func(at, _ int) { begin = min(begin, at) })
	return begin
}

func isDigit(c byte) bool { return c-'0' < 10 }

func isWord(c byte) bool {
	return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
}

// joined tells that what begins here goes on something before it: a word, a decimal, a longer group.
func joined(text string, i int) bool {
	before := text[i-1]
	if isWord(before) {
		return !(before == 'n' && i > 1 && text[i-2] == '\\' || before == 't' && i > 1 && text[i-2] == '\\')
	}
	return (before == '.' || before == '-' || before == ' ' || before == '+' || before == ',') && i > 1 && isDigit(text[i-2])
}

// number reads digits with single spaces or dashes between groups, and tells how many there are. End is 0 when what follows
// shows that this is no number of its own.
func number(text string, i int, digits *[19]byte) (end, count int, grouped bool) {
	var groups [8]int
	n, separator := 0, byte(0)
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case isDigit(c):
			if count == len(digits) {
				return 0, 0, false
			}
			digits[count] = c - '0'
			count++
			groups[n]++
		case (c == ' ' || c == '-') && (separator == 0 || c == separator) && i+1 < len(text) && isDigit(text[i+1]) && n < 7 && count < len(digits):
			separator = c
			n++
		default:
			if isWord(c) || c == '-' || c == '.' && i+1 < len(text) && isDigit(text[i+1]) {
				return 0, 0, false
			}
			return i, count, likeCard(groups[:n+1])
		}
	}
	return i, count, likeCard(groups[:n+1])
}

// likeCard tells that digits stand in the groups in which they are printed on cards.
func likeCard(groups []int) bool {
	if len(groups) == 3 {
		return groups[0] == 4 && groups[1] == 6 && (groups[2] == 5 || groups[2] == 4)
	}
	if len(groups) < 4 {
		return false
	}
	for _, g := range groups[:4] {
		if g != 4 {
			return false
		}
	}
	return len(groups) == 4 || len(groups) == 5 && groups[4] <= 3
}

// isCard tells that the digits begin and end like a card's.
func isCard(d []byte) bool {
	if len(d) < 13 || !issued(d) {
		return false
	}
	sum, same := 0, true
	for i := range d {
		n := int(d[len(d)-1-i])
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
		same = same && d[i] == d[0]
	}
	return sum%10 == 0 && !same
}

// issued tells that some network issues numbers of this length that begin like this.
func issued(d []byte) bool {
	two, three, four := int(d[0])*10+int(d[1]), int(d[0])*100+int(d[1])*10+int(d[2]), int(d[0])*1000+int(d[1])*100+int(d[2])*10+int(d[3])
	n := len(d)
	switch {
	case d[0] == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34, two == 37: // American Express
		return n == 15
	case three >= 300 && three <= 305, two == 36, two == 38, two == 39: // Diners Club
		return n == 14 || n == 16
	case four == 6011, three >= 644 && three <= 649, two == 65, two == 62, two == 60, two == 81: // Discover, UnionPay, RuPay
		return n >= 16
	case four >= 3528 && four <= 3589: // JCB
		return n == 16
	case four >= 2200 && four <= 2204: // Mir
		return n >= 16
	}
	return false
}

// speaks are words that speak of cards. Those that begin others (pan, company) must stand alone.
var speaks = []string{"card", "credit", "debit", "visa", "mastercard", "master card", "amex", "maestro", "cvv", "cvc", "ccnum", "cc_num", "cc-num", "ccno", "primary account"}

// explained tells that a word near the number speaks of cards.
func explained(text string, begin, end int) bool {
	around := strings.ToLower(text[max(0, begin-near):begin] + " " + text[end:min(len(text), end+near)])
	for _, w := range speaks {
		if strings.Contains(around, w) {
			return true
		}
	}
	for rest := around; ; {
		i := strings.Index(rest, "pan")
		if i < 0 {
			return false
		}
		if (i == 0 || !isWord(rest[i-1]) || rest[i-1] == '_') && (i+3 == len(rest) || !isWord(rest[i+3]) || rest[i+3] == '_') {
			return true
		}
		rest = rest[i+3:]
	}
}
