package literal

import (
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"rsc.io/binaryregexp"
)

// crsRule is one pattern of the Core Rule Set.
type crsRule struct {
	name     string // id; links of a chain have that of its head
	level    string // paranoia level
	targets  string
	negated  bool
	link     bool // stands behind the head of a chain
	operator string
	argument string
	words    []string
	matches  func(string) bool // what Coraza does
}

var crsOnce = sync.OnceValue(readCRS)

// crs is every @rx, @pm and @pmFromFile of the rule set.
func crs(t testing.TB) []crsRule {
	t.Helper()
	rules := crsOnce()
	if len(rules) < 300 {
		t.Fatalf("only %d patterns found", len(rules))
	}
	return rules
}

var (
	ruleLine  = regexp.MustCompile(`(?m)^[ \t]*SecRule[ \t]+("[^"]*"|\S+)[ \t]+"(!?)@(\w+) ((?:[^"\\]|\\.)*)"`)
	ruleLevel = regexp.MustCompile(`paranoia-level/(\d)`)
	ruleID    = regexp.MustCompile(`\bid:(\d+)`)
)

func readCRS() []crsRule {
	var out []crsRule
	files, _ := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	for _, name := range files {
		data, _ := fs.ReadFile(coreruleset.FS, name)
		text := strings.ReplaceAll(string(data), "\\\n", "")
		id, level := "", ""
		for line := range strings.Lines(text) {
			if m := ruleID.FindStringSubmatch(line); m != nil && !strings.HasPrefix(line, "#") {
				id, level = m[1], ""
			}
			if m := ruleLevel.FindStringSubmatch(line); m != nil {
				level = m[1]
			}
			m := ruleLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			r := crsRule{name: id, level: level, targets: m[1], negated: m[2] != "", link: !ruleID.MatchString(line),
				operator: m[3], argument: strings.ReplaceAll(m[4], `\"`, `"`)}
			switch r.operator {
			case "rx":
				r.matches = matcher(r.argument)
			case "pm":
				r.words = strings.Split(strings.ToLower(r.argument), " ")
			case "pmFromFile":
				r.words = dataFile(r.argument)
			default:
				continue
			}
			if r.words != nil {
				r.matches = func(text string) bool { return holdsAny(text, r.words) }
			}
			out = append(out, r)
		}
	}
	return out
}

// matcher compiles an expression as Coraza does.
func matcher(expr string) func(string) bool {
	if wrapped := "(?sm)" + expr; !namesBytes(wrapped) {
		if re, err := regexp.Compile(wrapped); err == nil {
			return re.MatchString
		}
	} else if re, err := binaryregexp.Compile(expr); err == nil {
		return re.MatchString
	}
	return nil
}

func dataFile(name string) []string {
	var out []string
	data, _ := fs.ReadFile(coreruleset.FS, "@owasp_crs/"+name)
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, strings.ToLower(line))
		}
	}
	return out
}

func holdsAny(text string, words []string) bool {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 32
		}
	}
	for _, w := range words {
		if strings.Contains(string(b), w) {
			return true
		}
	}
	return false
}

func (r crsRule) condition() (Condition, error) {
	if r.words != nil {
		return Words(r.words), nil
	}
	return Expression(r.argument)
}

// crsSieve is the sieve of the whole rule set; ids are the indices of crs.
func crsSieve(t testing.TB) (*Sieve, []crsRule) {
	t.Helper()
	rules := crs(t)
	return sieveOnce(), rules
}

var sieveOnce = sync.OnceValue(func() *Sieve {
	var b Builder
	for _, r := range crsOnce() {
		c, _ := r.condition()
		b.Add(c)
	}
	return b.Build()
})
