package identity

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	_ "unsafe" // for go:linkname

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	_ "github.com/corazawaf/coraza/v3" // registers the transformations
	_ "golang.org/x/net/html"          // has the names of the character references
)

// registered are the engine's transformations, by name in lower case: the map from which rules get theirs.
//
//go:linkname registered github.com/corazawaf/coraza/v3/internal/transformations.transformations
var registered map[string]Func

// references are the HTML character references that stand for one code point, without &.
//
//go:linkname references golang.org/x/net/html.entity
var references map[string]rune

// never are the transformations that are never known to leave a text alone.
var never = []string{"base64decode", "base64decodeext", "base64encode", "hexencode", "length", "md5", "sha1"}

// names are the transformations of the engine, sorted.
func names() (list []string) {
	for name := range registered {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func TestEveryTransformationOfTheEngineIsKnown(t *testing.T) {
	if len(registered) != 34 {
		t.Errorf("the engine has %d transformations, 34 were known; look at all of them again", len(registered))
	}
	for _, name := range names() {
		for _, spelling := range []string{name, strings.ToUpper(name)} {
			needs, ok := Needs(spelling)
			if ok == slices.Contains(never, name) {
				t.Errorf("Needs(%q) = %x, %v", spelling, needs, ok)
			}
			if needs&private != 0 || !ok && needs != Always {
				t.Errorf("Needs(%q) = %x", spelling, needs)
			}
		}
	}
	for _, name := range []string{"", "t:lowercase", "base32decode", "lower case"} {
		if needs, ok := Needs(name); ok || needs != Always {
			t.Errorf("Needs(%q) = %x, %v: unknown names change everything", name, needs, ok)
		}
	}
}

// ruleChains are the distinct lists of transformations in the Core Rule Set.
var ruleChains = sync.OnceValue(func() (chains [][]string) {
	one := regexp.MustCompile(`[",\s]t:([A-Za-z0-9]+)`)
	known := map[string]bool{}
	files, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(coreruleset.FS, file)
		if err != nil {
			panic(err)
		}
		for _, directive := range strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n") {
			if !strings.HasPrefix(strings.TrimSpace(directive), "Sec") {
				continue
			}
			var chain []string
			for _, m := range one.FindAllStringSubmatch(directive, -1) {
				if chain = append(chain, m[1]); m[1] == "none" {
					chain = nil
				}
			}
			if key := strings.ToLower(strings.Join(chain, " ")); !known[key] {
				known[key] = true
				chains = append(chains, chain)
			}
		}
	}
	return chains
})

// hostileChains are lists that no rule has, in which one transformation makes what the next reacts to.
func hostileChains() (chains [][]string) {
	all := names()
	for _, a := range all {
		chains = append(chains, []string{a})
		for _, b := range all {
			chains = append(chains, []string{a, b})
		}
	}
	return append(chains,
		[]string{"lowercase", "htmlEntityDecode", "urlDecodeUni", "cmdLine"},
		[]string{"uppercase", "lowercase", "hexDecode", "jsDecode", "normalizePathWin"},
		[]string{"urlDecodeUni", "htmlEntityDecode", "lowercase", "none", "trim"},
		[]string{"hexEncode", "uppercase", "hexDecode", "base64Decode"})
}

func TestChainsOfTheCoreRuleSet(t *testing.T) {
	chains := ruleChains()
	if len(chains) != 42 {
		t.Errorf("%d distinct chains, 42 were known", len(chains))
	}
	for _, chain := range chains {
		needs, ok := ChainNeeds(chain)
		var union Traits
		known := true
		for _, name := range chain {
			n, k := Needs(name)
			union, known = union|n, known && k
		}
		if needs != union || ok != known {
			t.Errorf("%v: %x, %v", chain, needs, ok)
		}
	}
}

func engine(name string) Func { return registered[strings.ToLower(name)] }

// whole is what the engine does with a list, after internal/corazawaf/rule.go.
func whole(chain []string, text string) string {
	for _, name := range chain {
		if v, _, err := engine(name)(text); err == nil {
			text = v
		}
	}
	return text
}

// stages is what the engine does with a list and multiMatch, each text once.
func stages(chain []string, text string) []string {
	list := []string{text}
	for _, name := range chain {
		v, changed, err := engine(name)(text)
		if err == nil && changed {
			if text = v; !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
	}
	return list
}

// fold makes ASCII letters lower-case, and touches nothing else.
func fold(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
