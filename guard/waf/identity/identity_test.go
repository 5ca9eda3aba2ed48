package identity

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// checker tries what is promised of texts, and counts which promises were put to the test.
type checker struct {
	t         *testing.T
	names     []string
	needs     []Traits
	does      []Func
	witnesses []Traits // of each transformation, the traits that were once the only reason to change
	failures  int
}

func newChecker(t *testing.T) *checker {
	c := &checker{t: t, names: names()}
	for _, name := range c.names {
		needs, _ := Needs(name)
		c.needs, c.does = append(c.needs, needs), append(c.does, registered[name])
	}
	c.witnesses = make([]Traits, len(c.names))
	return c
}

// try holds every transformation against one text.
func (c *checker) try(text string) {
	traits := Of(text)
	if traits&Always == 0 || traits&private != 0 {
		c.fail("Of(%q) = %x", text, traits)
	}
	for i, do := range c.does {
		c.one(i, do, text, traits)
	}
	folded := fold(text)
	if folded != text && Of(folded)&^Case != traits&^Case {
		c.fail("traits of %q depend on case: %x and %x", text, traits, Of(folded))
	}
}

func (c *checker) one(i int, do Func, text string, traits Traits) {
	reason := traits & c.needs[i]
	if reason&Always != 0 {
		return
	}
	out, _, err := do(text)
	if err != nil || out == text {
		return
	}
	switch {
	case reason == 0:
		c.fail("%s(%q) = %q, which was taken for unchanged (traits %x)", c.names[i], text, out, traits)
	case reason&^Case == 0 && fold(out) != fold(text):
		c.fail("%s(%q) = %q, which was taken for unchanged but for case (traits %x)", c.names[i], text, out, traits)
	case reason&(reason-1) == 0:
		c.witnesses[i] |= reason
	}
}

func (c *checker) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf(format, args...)
	if c.failures++; c.failures > 20 {
		c.t.FailNow()
	}
}

// every calls f with each text over the alphabet up to a length.
func every(alphabet []string, length int, f func(string)) {
	var extend func(b []byte, left int)
	extend = func(b []byte, left int) {
		f(string(b))
		if left == 0 {
			return
		}
		for _, a := range alphabet {
			extend(append(b, a...), left-1)
		}
	}
	extend(make([]byte, 0, 32), length)
}

func allBytes() (list []string) {
	for i := range 256 {
		list = append(list, string([]byte{byte(i)}))
	}
	return list
}

// alphabets hold together what reacts together.
var alphabets = []struct {
	name   string
	parts  []string
	length int
}{
	{"something of each", strings.Split(`a A 4 u % + & # ; \ " ^ / . * - < ! > ( : , _ `+"\t\x00\v\xa0 é", " "), 3},
	{"with blanks", []string{" ", "a", "/", "(", "\t", "\n", "\v", ",", "\xa0", "\xc2\x85", "\u2003", "\xc2"}, 5},
	{"comments", []string{"/", "*", "-", "#", "<", "!", ">", "a", "--", "\x00"}, 5},
	{"paths", []string{"/", ".", "a", "\\", ":", " ", "C", "..", "...", "*"}, 5},
	{"escapes", []string{"%", "u", "U", "0", "F", "g", "+", "\\"}, 6},
	{"references", []string{"&", "#", "x", "3", "c", ";", "l", "T", "amp", " ", "nGt;", "&a"}, 5},
	{"commands", []string{"A", "b", " ", "/", "(", "^", "'", "\"", ",", ";", "\\", "\r"}, 5},
	{"not UTF-8", []string{"\xa0", "\x85", "\xc2", "\xc3", "\xe2", "\xe4", "\x80", "\xf0", "\xff", "\xed", "a"}, 5},
	{"hexadecimal", []string{"0", "9", "a", "F", "g", " "}, 6},
}

func TestUnchangedMeansUnchanged(t *testing.T) {
	c := newChecker(t)
	every(allBytes(), 2, c.try)
	for _, a := range alphabets {
		every(a.parts, a.length, c.try)
	}
	for _, text := range samples() {
		c.try(text)
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		c.try(string(r))
	}
	for name := range references {
		for _, s := range []string{name, strings.TrimSuffix(name, ";"), strings.ToUpper(name), strings.ToLower(name)} {
			c.try("&" + s)
			c.try("a&" + s + "b")
			c.try("a=1&" + s + "=2")
		}
	}
	// Each trait that a transformation needs was once its only reason, so a trait that is forgotten is noticed above.
	for i, name := range c.names {
		if missing := c.needs[i] &^ c.witnesses[i] &^ Always; missing != 0 {
			t.Errorf("%s: no text was changed for the trait %x alone", name, missing)
		}
	}
}

// What may stand between: the traits are found wherever in a text they are.
func TestUnchangedMeansUnchangedWithin(t *testing.T) {
	c := newChecker(t)
	draw := rand.New(rand.NewPCG(6, 42))
	var parts []string
	for _, a := range alphabets {
		parts = append(parts, a.parts...)
	}
	for range 100_000 {
		var b strings.Builder
		for range 1 + draw.IntN(6) {
			b.WriteString(strings.Repeat("x", draw.IntN(9)))
			b.WriteString(parts[draw.IntN(len(parts))])
			if draw.IntN(3) == 0 {
				b.WriteString(parts[draw.IntN(len(parts))])
			}
		}
		c.try(b.String())
	}
}

// The names that need no semicolon are those of the decoder, and its numbers are ours.
func TestOldNames(t *testing.T) {
	if len(references) < 2000 {
		t.Fatalf("the decoder knows %d references only", len(references))
	}
	old := map[string]bool{}
	for name := range references {
		if !strings.HasSuffix(name, ";") {
			old[strings.ToLower(name)] = true
			if !hasReference("&" + name) {
				t.Errorf("&%s is read without a semicolon", name)
			}
		}
	}
	for i, list := range oldNames {
		for _, name := range list {
			if !old[name] || name[0] != 'a'+byte(i) {
				t.Errorf("&%s is no old name of the decoder, or stands with another letter's", name)
			}
		}
	}
	for _, text := range []string{"Q&A", "AT&T", "R & D", "a=1&page=2&user=x", "&", "&&;", "&#", "&#;", "x&lx"} {
		if hasReference(text) || html.UnescapeString(text) != text {
			t.Errorf("%q was taken for a reference", text)
		}
	}
}

func TestChainsLeaveAlone(t *testing.T) {
	texts := samples()
	for _, chain := range slices.Concat(ruleChains(), hostileChains()) {
		needs, ok := ChainNeeds(chain)
		if !ok {
			continue
		}
		for _, text := range texts {
			traits := Of(text)
			if traits&needs == 0 && whole(chain, text) != text {
				t.Errorf("%v changes %q to %q", chain, text, whole(chain, text))
			}
			if traits&needs&^Case == 0 && fold(whole(chain, text)) != fold(text) {
				t.Errorf("%v changes %q to %q, not only its case", chain, text, whole(chain, text))
			}
		}
	}
}

// samples are texts of every kind: prose, code, attacks, and combinations of what is reacted to.
func samples() []string {
	draw := rand.New(rand.NewPCG(7, 42))
	list := append(slices.Clone(prose), attacks...)
	for _, a := range alphabets {
		for range 60 {
			var b strings.Builder
			for range 1 + draw.IntN(7) {
				b.WriteString(a.parts[draw.IntN(len(a.parts))])
			}
			list = append(list, b.String())
		}
	}
	return list
}

var attacks = []string{
	"", "/", ".", "..", "1", "0x41", "4142", "1' OR '1'='1", "%2527%20or", "&Lt;script&GT;", "&AMP;lt;", "&Amplt;", "&lt", "&NOT",
	"<!-- x -->", "/**/union/**/select", "..%c0%af..\\etc", "C:\\a\\..\\b::$DATA", "c^md /c \"d'ir\"", "\\u{003c}script", "%uff1cscript",
	"K\u017f", "İ", "\xff\xa0x", "a\xa0 b", "YWJj", "&nGt;&lt;", "&nGt; &lt;", "&#X41;", "a&#x41b", "&#65", "a\x00b", "SELECT\t\n1 --", "x;#", "%41%zz%u0041%U00e9",
}

// prose is what people write.
var prose = []string{
	"The quick brown fox jumps over the lazy dog.", "Please call me back tomorrow, after 5 pm; thanks!", "It's 50% off - Q&A at 9:30.",
	"order-1234", "anna", "ANNA", "2026-11-22T20:04:30Z", "https://shop.example/orders/1?page=2&size=20", "a=1&b=2&user=ann",
	"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "550e8400-e29b-41d4-a716-446655440000", "ann@example.org",
	"Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.", "Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis.",
	"El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia.", "Съешь же ещё этих мягких французских булок.", "いろはにほへとちりぬるを",
	"我能吞下玻璃而不伤身体。", "نص حكيم له سر قاطع وذو شأن عظيم", "Pchnąć w tę łódź jeża lub ośm skrzyń fig.", "use SELECT name FROM users in your report",
}

// What "may change" costs: how often it is wrong on prose. A report, and a bound that shows when a condition gets coarse.
func TestMayChangeIsSeldomWrong(t *testing.T) {
	for _, name := range names() {
		needs, ok := Needs(name)
		if !ok {
			continue
		}
		may, wrong := 0, 0
		for _, text := range prose {
			if Of(text)&needs != 0 {
				may++
				if whole([]string{name}, text) == text {
					wrong++
				}
			}
		}
		t.Logf("%-18s may change %2d of %d, wrong %d", name, may, len(prose), wrong)
		if wrong > 1 {
			t.Errorf("%s: %d of %d texts were taken for changed and are not", name, wrong, len(prose))
		}
	}
}

func FuzzIdentity(f *testing.F) {
	for _, s := range samples() {
		f.Add(s)
	}
	chains := ruleChains()
	for _, chain := range hostileChains() {
		if len(chain) != 2 { // the pairs are tried on the samples; here they would take all the time
			chains = append(chains, chain)
		}
	}
	tree, c := NewTree(chains, engine), newChecker(nil)
	f.Fuzz(func(t *testing.T, text string) {
		c.t = t
		c.try(text)
		var w Work
		compare(t, tree, chains, text, &w)
	})
}

func BenchmarkOf(b *testing.B) {
	for _, text := range []struct{ name, text string }{
		{"12", "order-123456"}, {"30", "The quick brown fox jumps over"}, {"1000", strings.Repeat("The quick brown fox jumps over the lazy dog, ", 23)[:1000]},
		{"1000 Russian", strings.Repeat("Съешь же ещё этих мягких французских булок. ", 30)[:1000]},
		{"1000 Chinese", strings.Repeat("我能吞下玻璃而不伤身体。", 30)[:1000]},
	} {
		b.Run(text.name, func(b *testing.B) {
			b.SetBytes(int64(len(text.text)))
			for b.Loop() {
				sink = Of(text.text)
			}
		})
	}
}

var sink Traits
