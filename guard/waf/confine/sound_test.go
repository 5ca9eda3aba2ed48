package confine

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

var core = sync.OnceValues(func() (*Rules, error) {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).
		WithDirectives("SecRxPreFilter On\nInclude @crs-setup.conf.example\nInclude @owasp_crs/*.conf\n" + everyTransformation))
	if err != nil {
		return nil, err
	}
	list, err := secrule.Read(waf)
	if err != nil {
		return nil, err
	}
	return NewRules(list, coreruleset.FS)
})

// everyTransformation has a rule for each that change knows, so that there is the engine's own function.
var everyTransformation = func() string {
	var b strings.Builder
	for i, name := range known {
		b.WriteString("SecRule ARGS \"@rx ^never\" \"id:" + string(rune('1'+i/10)) + string(rune('0'+i%10)) + "000,phase:2,pass,t:none,t:" + name + "\"\n")
	}
	return b.String()
}()

var known = []string{"lowercase", "uppercase", "urlDecode", "urlDecodeUni", "jsDecode", "cssDecode", "escapeSeqDecode", "htmlEntityDecode", "utf8toUnicode",
	"removeNulls", "replaceNulls", "base64Decode", "length", "cmdLine", "compressWhitespace", "removeWhitespace", "removeComments", "removeCommentsChar",
	"replaceComments", "trim", "trimLeft", "trimRight", "normalisePath", "normalisePathWin"}

func rulesOf(t testing.TB) *Rules {
	t.Helper()
	r, err := core()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// author writes expressions and texts that lie close to each other.
type author struct{ *rand.Rand }

func (a author) pick(list ...string) string { return list[a.IntN(len(list))] }

// expression writes one with the traps in it: missing anchors, alternatives, classes that take anything, letters that fold
// beyond ASCII, ends of lines.
func (a author) expression(depth int) string {
	switch a.IntN(14) {
	case 0:
		return "^" + a.expression(depth-1) + "|" + a.expression(depth-1) + "$"
	case 1:
		return "(?m)^" + a.sequence(depth) + "$"
	case 2:
		return a.sequence(depth)
	case 3:
		return "^" + a.sequence(depth)
	case 4:
		return a.sequence(depth) + `\z`
	case 5:
		return `\A(?:` + a.sequence(depth) + "|" + a.sequence(depth) + `)\z`
	case 6:
		return "^(?i:" + a.sequence(depth) + ")$"
	case 7:
		return "(?:^|x)" + a.sequence(depth) + "(?:$|;)"
	}
	return "^" + a.sequence(depth) + "$"
}

func (a author) sequence(depth int) string {
	var b strings.Builder
	for range 1 + a.IntN(3) {
		b.WriteString(a.atom(depth) + a.pick("", "", "*", "+", "?", "{1,3}", "{2}", "{0,5}"))
	}
	return b.String()
}

func (a author) atom(depth int) string {
	if depth > 0 && a.IntN(3) == 0 {
		return "(?:" + a.sequence(depth-1) + "|" + a.sequence(depth-1) + ")"
	}
	return a.pick("[a-z]", "[A-Z]", "[0-9]", `\d`, `\w`, `[^<>]`, "[^a]", ".", `\s`, "(?s:.)", "k", "s", "K", "é", `\p{L}`, "[ -~]", "[-+.eE]", `[\x{80}-\x{10ffff}]`, "'", `"`, "<", "or", "--", "/", "%", `\.`, `\b`, "\ufffd")
}

// text writes one that an expression may match, or nearly.
func (a author) text(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		s := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 && a.IntN(2) == 0 {
			s = strings.NewReplacer("s", "ſ", "S", "ſ", "k", "K", "K", "K").Replace(s)
		}
		return s
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return ""
		}
		i := a.IntN(len(re.Rune)/2) * 2
		if low, high := re.Rune[i], re.Rune[i+1]; low <= utf8.RuneError && utf8.RuneError <= high && a.IntN(3) == 0 {
			return string([]byte{byte(0x80 + a.IntN(0x80))})
		} else if high-low < 200 || a.IntN(2) == 0 {
			return string(low + rune(a.IntN(int(min(high-low, 200))+1)))
		} else {
			return string(high - rune(a.IntN(200)))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return a.pick("<", "'", "\"", "\x00", "é", "\xff", "\xc5", "ſ", "a", " ", "%41", "\n")
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		least := map[syntax.Op]int{syntax.OpPlus: 1, syntax.OpRepeat: re.Min}[re.Op]
		most := map[syntax.Op]int{syntax.OpStar: 4, syntax.OpPlus: 4, syntax.OpQuest: 1, syntax.OpRepeat: max(re.Max, re.Min+2)}[re.Op]
		if re.Op == syntax.OpRepeat && re.Max >= 0 {
			most = re.Max
		}
		var b strings.Builder
		for range least + a.IntN(most-least+1) {
			b.WriteString(a.text(re.Sub[0]))
		}
		return b.String()
	case syntax.OpAlternate:
		return a.text(re.Sub[a.IntN(len(re.Sub))])
	}
	var b strings.Builder
	for _, sub := range re.Sub {
		b.WriteString(a.text(sub))
	}
	return b.String()
}

var spice = []string{"<script>", "' or 1=1--", "\n", "\r\n<", "x", ";cat /etc/passwd", "%3C", "\x00", "ſelect", "K", "-1+UNION+SELECT", "é", "\xff", "1e5", "-0", "0x1f", "../..", "&lt;", "/*", "#", "\u2028"}

func (a author) mutated(s string) string {
	switch a.IntN(4) {
	case 0:
		return s + spice[a.IntN(len(spice))]
	case 1:
		return spice[a.IntN(len(spice))] + s
	case 2:
		at := a.IntN(len(s) + 1)
		return s[:at] + spice[a.IntN(len(spice))] + s[at:]
	}
	return s
}

// TestPatternsHoldWhatTheyMatch: whatever an expression matches is in the set that was worked out for it, for expressions
// with every trap and texts at their edges.
func TestPatternsHoldWhatTheyMatch(t *testing.T) {
	matched, confined := 0, 0
	for seed := range uint64(1_500) {
		m, c := holdsWhatMatches(t, seed, "")
		matched, confined = matched+m, confined+c
	}
	t.Logf("%d matches, %d of them in confined sets", matched, confined)
	if matched < 5_000 || confined < 2_000 {
		t.Errorf("too few to say anything: %d matches, %d confined", matched, confined)
	}
}

func holdsWhatMatches(t testing.TB, seed uint64, more string) (matched, confined int) {
	a := author{rand.New(rand.NewPCG(seed, 3))}
	expression := a.expression(2)
	re, err := regexp.Compile(expression)
	if err != nil {
		return 0, 0
	}
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	set := ofPattern(expression)
	texts := []string{more}
	for range 12 {
		s := a.text(tree)
		texts = append(texts, s, a.mutated(s))
	}
	for _, s := range texts {
		if !re.MatchString(s) {
			continue
		}
		matched++
		if !set.any {
			confined++
		}
		if !set.holds(s) {
			t.Fatalf("%q matches %q, which is not %s", expression, s, set.words())
		}
	}
	return matched, confined
}

// TestUnanchoredConfinesNothing, by name: each of these can be matched around an attack.
func TestUnanchoredConfinesNothing(t *testing.T) {
	for _, expression := range []string{"[a-z]+", "^[a-z]+", "[a-z]+$", "^a|b$", "^(?:a|b)|c$", "(?m)^[a-z]+$", "^[a-z]+(?m:$)", `^[a-z]+\b`, "^", "$", "", "(?:^|x)a$", `\A[0-9]+`} {
		if set := ofPattern(expression); !set.any {
			t.Errorf("%q: %s", expression, set.words())
		}
	}
	for _, expression := range []string{"^[a-z]+$", "^(?:a|b)$", "^a$|^b$", `\A[0-9]+\z`, "^$", "(?:^a|^b)c$", "^(?:a$|b$)"} {
		if set := ofPattern(expression); set.any || set.holds("a<") || set.holds("'b") {
			t.Errorf("%q: %s", expression, set.words())
		}
	}
}

// TestChanges: whatever the engine's own function makes of a text is in what change makes of its set.
func TestChanges(t *testing.T) {
	unknown := map[string]int{}
	for seed := range uint64(600) {
		changesAgree(t, seed, "", unknown)
	}
	for _, name := range known {
		if unknown[name] > 550 {
			t.Errorf("%s is nearly never known", name)
		}
	}
}

func changesAgree(t testing.TB, seed uint64, more string, unknown map[string]int) {
	r := rulesOf(t)
	a := author{rand.New(rand.NewPCG(seed, 5))}
	tree, err := syntax.Parse(a.sequence(2), syntax.Perl)
	if err != nil {
		return
	}
	words := []string{more}
	for range 6 {
		s := a.text(tree)
		if a.IntN(3) == 0 {
			s = a.mutated(s)
		}
		words = append(words, s)
	}
	made := partsOf(words)
	for _, rule := range r.list {
		if rule.ID < 10_000 || rule.ID > 99_999 || rule.ID%1000 != 0 || len(rule.Chain.Names) != 1 {
			continue
		}
		name := rule.Chain.Names[0]
		to, ok := change(strings.ToLower(name), made)
		if !ok {
			unknown[name]++
			continue
		}
		for _, w := range words {
			out, _, err := rule.Chain.Functions[0](w)
			if err != nil {
				out = w
			}
			if !to.holds(out) {
				t.Fatalf("%s makes %q of %q, which is not in what it makes of %q", name, out, w, words)
			}
		}
	}
}

// TestNeverIsNever: a rule of which it is said that it can match none of some texts matches none of them, by its own
// operator and transformations.
func TestNeverIsNever(t *testing.T) {
	claims := 0
	for seed := range uint64(12) {
		claims += neverIsNever(t, seed, "")
	}
	t.Logf("%d claims held against the engine's operators", claims)
	if claims < 20_000 {
		t.Errorf("%d claims only", claims)
	}
}

// attacks are what rules match: to be held against claims about expressions that let them pass.
var attacks = []string{"1 or 1=1", "union select", "<script>alert(1)</script>", "/etc/passwd", "../../etc/passwd", ";cat /etc/passwd", "$(id)", "javascript:alert(1)", "sleep(5)", "' or ''='",
	"php://input", "{{7*7}}", "http://169.254.169.254/", "wget", "bash", "nc -e", "@@version", "0x50", "xp_cmdshell", "onload=x", "__proto__", "2147483648", "429496729[5", "4294967295", "1e-308", "\r\nSet-Cookie: a=b", "admin'--", "1;DROP TABLE x",
	"ſleep(1)", "linK", "%252e%252e", "pg_sleep", "cmd.exe", "curl", "python", "1,2,3,4,5", "uname -a", "phpinfo()", "c:/windows/system.ini", "a=b&c=d", "X19wcm90b19f", "ZXZhbCg="}

func neverIsNever(t testing.TB, seed uint64, more string) (claims int) {
	r := rulesOf(t)
	a := author{rand.New(rand.NewPCG(seed, 9))}
	expression := a.expression(2)
	if a.IntN(3) == 0 { // of the bytes of an attack, so that it passes
		var b strings.Builder
		b.WriteString("^[")
		for _, c := range a.pick(attacks...) + a.pick("", "a-z", "0-9", "A-Z") {
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
		expression = strings.ReplaceAll(b.String(), "^^", "^") + "]+$"
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return 0
	}
	tree, _ := syntax.Parse(expression, syntax.Perl)
	var list []string
	for range 6 {
		s := a.text(tree)
		list = append(list, s, a.mutated(s))
	}
	set, words := ofPattern(expression), append(list, attacks...)
	words = append(words, more)
	var accepted []string
	for _, w := range words {
		if re.MatchString(w) {
			accepted = append(accepted, w)
		}
	}
	claims = holdAgainst(t, r, set, accepted, expression)
	return claims + holdAgainst(t, r, listed(accepted...), accepted, "a list")
}

func holdAgainst(t testing.TB, r *Rules, set texts, accepted []string, what string) (claims int) {
	m := r.mask(set)
	for i, rule := range r.list {
		if !m.Has(i) {
			continue
		}
		for _, w := range accepted {
			claims++
			if match(r, i, w) {
				t.Fatalf("rule %d matches %q, which %s lets pass (%s)", rule.ID, w, what, set.words())
			}
		}
	}
	return claims
}

// FuzzConfine: no expression, no text, no transformation brings a rule to match what was said to be out of its reach.
func FuzzConfine(f *testing.F) {
	rulesOf(f) // takes seconds
	f.Add(uint64(1), "a")
	f.Add(uint64(77), "ſ%41\x00")
	f.Add(uint64(4711), "-1.5e+3")
	f.Fuzz(func(t *testing.T, seed uint64, more string) {
		holdsWhatMatches(t, seed, more)
		changesAgree(t, seed, more, map[string]int{})
		neverIsNever(t, seed, more)
		product(t, seed, more)
	})
}

// TestGrammars: every format that is judged stands in the table, and what its judge accepts is in its grammar.
func TestQuietAboutNumbers(t *testing.T) {
	r := rulesOf(t)
	var sqli *secrule.Rule
	place := 0
	for i, rule := range r.list {
		if rule.ID == 942100 {
			sqli, place = rule, i
		}
	}
	if sqli == nil {
		t.Fatal("no rule 942100")
	}
	asked := 0
	for _, s := range numberForms() {
		asked++
		if match(r, place, s) {
			t.Fatalf("libinjection takes %q for an injection", s)
		}
	}
	t.Logf("%d forms", asked)
}

// numberForms writes numbers of every form: each run of digits short, of the size of a token and longer.
func numberForms() (list []string) {
	runs := []string{"0", "1", "9", "10", "05", "1234567890", strings.Repeat("7", 31), strings.Repeat("7", 32), strings.Repeat("7", 33), strings.Repeat("8", 100)}
	for _, sign := range []string{"", "-"} {
		for _, whole := range runs {
			list = append(list, sign+whole)
			for _, fraction := range append([]string{""}, runs...) {
				for _, exponent := range []string{"", "e", "E", "e+", "E+", "e-", "E-"} {
					for _, power := range runs {
						s := sign + whole
						if fraction != "" {
							s += "." + fraction
						}
						if exponent != "" {
							s += exponent + power
						}
						list = append(list, s)
					}
				}
			}
		}
	}
	return append(list, "2026-01-31", "0000-00-00", "1111-11-11", "9999-09-09", "2020-20-20", "0101-10-01")
}

func match(r *Rules, place int, text string) bool {
	rule, chain := r.list[place], r.tests[place].chain
	var w identity.Work
	forms := []string{r.tree.Apply(text, identity.Of(text), chain, &w)}
	if r.tests[place].multi {
		forms = r.tree.ApplyAll(text, identity.Of(text), chain, &w, nil)
	}
	for _, f := range forms {
		if rule.Test.Operator.Evaluate(secrule.Idle{}, f) != rule.Test.Negated {
			return true
		}
	}
	return false
}
