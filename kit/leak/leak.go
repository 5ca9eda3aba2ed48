// Package leak finds secrets where none should be: in documents, contracts, source trees and lines that are about to be
// shown. It knows the forms of well-known credentials, and tells what only chance or a key generator writes from words,
// names and numbers by their letters. It errs on the side of secrets and never repeats what it finds.
package leak

import (
	"math"
	"regexp"
	"slices"
	"strings"
)

// Patterns are compiled once and never change.
var (
	// tokenPrefix is how well-known credentials begin.
	tokenPrefix = regexp.MustCompile(`^(?:gh[kpousr]_|github_pat_|glpat-|xox[abeoprs]-|sk_live_|rk_live_|sk-|AKIA|ASIA|AIza|ya29\.|hvs\.|hvb\.|npm_|pypi-|dop_v1_|SG\.|shpat_|AGE-SECRET-KEY-|eyJ[A-Za-z0-9_-]+\.)[A-Za-z0-9._/+=-]{12,}`)

	// candidate is a run of the letters in which keys are written.
	candidate = regexp.MustCompile(`[A-Za-z0-9+/_=.-]{20,}`)

	// digest is a hash that says so; it reveals nothing of what it was made from.
	digest = regexp.MustCompile(`(?:sha256|sha384|sha512)[:-][A-Za-z0-9+/=_-]+`)

	identifier = regexp.MustCompile(`^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`) // RFC 9562
	hostname   = regexp.MustCompile(`^(?:[a-z0-9-]{1,63}\.){2,}[a-z]{2,}$`)
	hexText    = regexp.MustCompile(`^[0-9a-fA-F]{32,}$`)
	privateKey = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`)
	publicPEM  = regexp.MustCompile(`(?s)^\s*-----BEGIN (?:CERTIFICATE|PUBLIC KEY|X509 CRL)-----`)
	userinfo   = regexp.MustCompile(`://[^/@\s:]*:([^/@\s]+)@`)

	// named is a key whose value is a secret by its name, in a line of the document.
	named = regexp.MustCompile(`(?i)([a-z0-9_-]*(?:passw(?:or)?d|secret|token|passphrase|credential|(?:^|[_-])key|\bkey)["']?\s*:\s+)([^\s#{\[|>][^#]*)`)
)

// Looks tells that text contains something that only chance or a key generator writes, or a known credential. Names of
// hosts, digests that say so, certificates and UUIDs are not taken for secrets.
func Looks(text string) bool { return len(Runs(text)) > 0 }

// Credential tells that text is known to be a secret by its form, not only by chance's look.
func Credential(text string) bool {
	return privateKey.MatchString(text) || userinfo.MatchString(text) || tokenPrefix.MatchString(strings.TrimSpace(text))
}

// Named gives the values in a line, as byte offsets, that stand under keys named like secrets, such as "password: it". They
// are as written, with their quotes; the caller knows which of them are no literals.
func Named(line string) [][2]int {
	var values [][2]int
	for _, at := range named.FindAllStringSubmatchIndex(line, -1) {
		values = append(values, [2]int{at[4], at[5]})
	}
	return values
}

// Runs gives the parts of text, as byte offsets, that look like secrets, in their order and apart from each other.
func Runs(text string) [][2]int {
	return apart(found(text))
}

// apart puts runs in their order and joins those that touch.
func apart(runs [][2]int) [][2]int {
	slices.SortFunc(runs, func(a, b [2]int) int { return a[0] - b[0] })
	joined := runs[:0]
	for _, r := range runs {
		if n := len(joined); n > 0 && r[0] <= joined[n-1][1] {
			joined[n-1][1] = max(joined[n-1][1], r[1])
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

func found(text string) [][2]int {
	var runs [][2]int
	if strings.Contains(text, "PRIVATE KEY") {
		if at := privateKey.FindStringIndex(text); at != nil {
			return [][2]int{{at[0], len(text)}}
		}
	}
	if strings.Contains(text, "-----BEGIN") && publicPEM.MatchString(text) {
		return nil
	}
	for _, at := range passwordsIn(text) {
		runs = append(runs, [2]int{at[2], at[3]})
	}
	if !hasRun(text, 20) {
		return runs
	}
	var public [][]int
	if strings.Contains(text, "sha") {
		public = digest.FindAllStringIndex(text, -1)
	}
next:
	for _, at := range candidate.FindAllStringIndex(text, -1) {
		for _, p := range public {
			if at[0] < p[1] && p[0] < at[1] {
				continue next
			}
		}
		runs = append(runs, randomParts(text[at[0]:at[1]], at[0])...)
	}
	return runs
}

// passwordsIn finds what stands for passwords in URLs.
func passwordsIn(text string) [][]int {
	if !strings.Contains(text, "://") {
		return nil
	}
	return userinfo.FindAllStringSubmatchIndex(text, -1)
}

// hasRun tells that text has a run of at least n letters in which keys are written.
func hasRun(text string, n int) bool {
	run := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/', c == '_', c == '=', c == '.', c == '-':
			if run++; run >= n {
				return true
			}
		default:
			run = 0
		}
	}
	return false
}

// randomParts judges one run of key letters: whole, then the parts between slashes and dots, which keep the paths and
// names of URLs apart.
func randomParts(run string, at int) [][2]int {
	separators := strings.Count(run, "/") + strings.Count(run, ".")
	if tokenPrefix.MatchString(run) || separators*12 <= len(run) && isRandom(run) {
		return [][2]int{{at, at + len(run)}}
	}
	// Base64 with padding: no path ends like this, so that its slashes divide nothing.
	if strings.HasSuffix(run, "=") && len(run)%4 == 0 && !strings.Contains(run, ".") && isRandom(strings.NewReplacer("/", "", "+", "", "=", "").Replace(run)) {
		return [][2]int{{at, at + len(run)}}
	}
	if hostname.MatchString(run) {
		return nil
	}
	var parts [][2]int
	begin := 0
	for i := 0; i <= len(run); i++ {
		if i < len(run) && run[i] != '/' && run[i] != '.' {
			continue
		}
		if part := run[begin:i]; tokenPrefix.MatchString(part) || isRandom(part) {
			parts = append(parts, [2]int{at + begin, at + i})
		}
		begin = i + 1
	}
	return parts
}

// isRandom judges a text by its letters: words and names repeat letters and change between small letters, capitals and
// digits seldom; keys do not.
func isRandom(s string) bool {
	if len(s) < 20 || identifier.MatchString(s) {
		return false
	}
	if hexText.MatchString(s) {
		return entropy(s) > 2.5
	}
	if strings.ContainsAny(s, "./") && strings.ToLower(s) == s {
		return false // a path or name in small letters; its parts are judged one by one
	}
	classes, changes := classChanges(s)
	switch {
	case !strings.ContainsAny(s, "0123456789"):
		// Names in CamelCase have no digits; keys in small letters only are told by their even use of the alphabet.
		return len(s) >= 32 && !strings.ContainsAny(s, "-_./+=") && classes == 1 && entropy(s) > 4
	case classes < 2, classes == 2 && len(s) < 24:
		return false
	case len(s) >= 32 && !strings.ContainsAny(s, "-_./"):
		return entropy(s) > 3.3 && changes*8 >= len(s)
	case len(s) >= 32:
		return entropy(s) > 3.3 && changes*5 >= len(s)
	}
	return entropy(s) > 3.3 && changes*4 >= len(s)
}

// classChanges counts the classes of letters (small, capital, digit) and how often neighbours differ in class. A capital
// that begins a word is no change to the small letter after it.
func classChanges(s string) (classes, changes int) {
	var seen [3]bool
	before := -1
	for i := 0; i < len(s); i++ {
		class := 0
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
		case c >= 'A' && c <= 'Z':
			class = 1
		case c >= '0' && c <= '9':
			class = 2
		default:
			continue
		}
		if !seen[class] {
			seen[class] = true
			classes++
		}
		if before >= 0 && class != before && !(before == 1 && class == 0) {
			changes++
		}
		before = class
	}
	return classes, changes
}

// entropy is Shannon's, in bits per byte.
func entropy(s string) float64 {
	var count [256]int
	for i := 0; i < len(s); i++ {
		count[s[i]]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
