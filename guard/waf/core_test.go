package waf

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	earlier "github.com/corazawaf/coraza-coreruleset"
	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// folders are those of a document: two releases, and small ones.
func folders(more map[string]fs.FS) Tools {
	all := map[string]fs.FS{"crs-4.0.0": earlier.FS, "crs-4.25.0": coreruleset.FS}
	maps.Copy(all, more)
	t := tools
	t.Folder = func(name string) seclang.Folder {
		found, ok := all[name]
		if !ok {
			found = fstest.MapFS{}
		}
		return seclang.Dir(found)
	}
	return t
}

// pinOf is the pin of a release.
func pinOf(t testing.TB, release fs.FS) string {
	t.Helper()
	r, err := seclang.OpenRelease(seclang.Dir(release))
	if err != nil {
		t.Fatal(err)
	}
	return r.Pin
}

// pinned is a guard by the rules of another release.
func pinned(t testing.TB, tools Tools, cfg Config) *Guard {
	t.Helper()
	cfg.Rules.Core = Core{From: "crs-4.0.0", Pin: pinOf(t, earlier.FS)}
	cfg.Budget = time.Minute
	g, err := New(cfg, &gate.API{Name: "shop", Operations: []*gate.Operation{{Key: "op"}}}, tools)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestTheVersionOfTheProgram(t *testing.T) {
	release, err := seclang.OpenRelease(seclang.Dir(coreruleset.FS))
	if err != nil {
		t.Fatal(err)
	}
	c, err := coreFrom(release)
	if err != nil {
		t.Fatal(err)
	}
	if c.version != builtInVersion {
		t.Errorf("the core rules are %s, and not %s", c.version, builtInVersion)
	}
}

// The release that is part of the program is the same rules when it lies in a folder: same order, same tests, same settings
// around them.
func TestAFolderIsReadAsTheProgramsOwn(t *testing.T) {
	release, err := seclang.OpenRelease(seclang.Dir(coreruleset.FS))
	if err != nil {
		t.Fatal(err)
	}
	c, err := coreFrom(release)
	if err != nil {
		t.Fatal(err)
	}
	own := builtIn()
	if err := own.set.compile(); err != nil {
		t.Fatal(err)
	}
	if len(c.set.rules) != len(own.set.rules) || len(own.set.rules) < 600 {
		t.Fatalf("%d rules from the folder, %d of the program", len(c.set.rules), len(own.set.rules))
	}
	for i, a := range c.set.rules {
		b := own.set.rules[i]
		same := a.ID == b.ID && a.Phase == b.Phase && slices.Equal(a.Tags, b.Tags) && len(a.Links) == len(b.Links) && len(a.Targets) == len(b.Targets) && slices.Equal(a.Chain.Names, b.Chain.Names)
		if same && a.Test != nil && !strings.Contains(strings.ToLower(a.Test.Name), "fromfile") { // lists are named by their content
			same = b.Test != nil && a.Test.Name == b.Test.Name && a.Test.Argument == b.Test.Argument && a.Test.Negated == b.Test.Negated
		}
		if !same {
			t.Fatalf("rule %d is %+v, and %+v of the program", b.ID, a, b)
		}
	}
}

// Another release denies what it is there for, and lets pass what nobody could mind; its prefilter and its confinement are
// derived, exceptions name its rules, and the next level is learned.
func TestAnotherReleaseJudges(t *testing.T) {
	tools := folders(nil)
	g := pinned(t, tools, Config{})
	if want := "OWASP_CRS/4.0.0-rc2, " + pinOf(t, earlier.FS); g.Core() != want {
		t.Errorf("%q, want %q", g.Core(), want)
	}
	for name, s := range attacks {
		v := g.Check(t.Context(), s.exchange())
		if v.Allowed() || !strings.HasPrefix(v.Rule, "crs 9") {
			t.Errorf("%s: %+v", name, v)
		}
	}
	plain := sample{method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "tea"}}}
	for range 3 {
		if v := g.Check(t.Context(), plain.exchange()); !v.Allowed() {
			t.Errorf("%+v", v)
		}
	}
	if err := g.slow(); err != nil {
		t.Error("no outcome is known beforehand:", err)
	}
	if <-g.derived().said; g.derived().confine == nil {
		t.Error("nothing is known of what schemas confine")
	}
	for _, name := range []string{"sql in query", "xss in query"} {
		v := g.Check(t.Context(), attacks[name].exchange())
		if id := strings.TrimPrefix(v.Rule, "crs "); !strings.Contains(v.Fix, "rule: "+id+",") {
			t.Errorf("%s: %s is excepted by %s", name, v.Rule, v.Fix)
		}
	}
	until := tools.Now().AddDate(0, 1, 0)
	x := pinned(t, tools, Config{Except: []seclang.Exception{{Rule: 942100, Argument: "q", Author: "ann", Reason: "people quote SQL", Until: until}}})
	quotes := sample{method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "1' or '1'='1"}}}
	if before, after := g.Check(t.Context(), quotes.exchange()), x.Check(t.Context(), quotes.exchange()); before.Allowed() || !after.Allowed() {
		t.Errorf("%+v, and with an exception %+v", before, after)
	}
	// 956100 is a rule of 4.25, and none of the earlier release
	_, err := New(Config{Rules: Own{Core: Core{From: "crs-4.0.0", Pin: pinOf(t, earlier.FS)}}, Except: []seclang.Exception{{Rule: 956100, Author: "ann", Reason: "x", Until: until}}}, &gate.API{Name: "shop"}, tools)
	if err == nil || !strings.Contains(err.Error(), "956100") {
		t.Error("an exception of a rule that isn't there:", err)
	}
	learns := pinned(t, tools, Config{Learn: true})
	sleep := sample{method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "sleep("}}}
	if v := learns.Check(t.Context(), sleep.exchange()); !v.Allowed() {
		t.Errorf("%+v", v)
	}
	if l := learns.learning.Report(); l.Requests == 0 || len(l.Lines) == 0 {
		t.Errorf("nothing was learned: %+v", l)
	}
}

// Own files go with the rules of another release as with those of the program.
func TestOwnFilesGoWithAnotherRelease(t *testing.T) {
	tools := folders(nil)
	tools.Files = func(string) ([]byte, error) {
		return []byte(`SecRuleRemoveById 942100` + "\n" + `SecRule ARGS:q "@streq tea" "id:10001,phase:2,deny,msg:'tea'"`), nil
	}
	g := pinned(t, tools, Config{Rules: Own{After: []string{"after.conf"}}})
	for text, want := range map[string]bool{"coffee": true, "tea": false, "1' or '1'='1": true} {
		s := sample{method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: text}}}
		if v := g.Check(t.Context(), s.exchange()); v.Allowed() != want {
			t.Errorf("%s: %+v", text, v)
		}
	}
	if again := pinned(t, tools, Config{Rules: Own{After: []string{"after.conf"}}}); again.set != g.set {
		t.Error("the same rules were compiled twice")
	}
	tools.Files = func(string) ([]byte, error) { return []byte(`SecRuleRemoveById 956100`), nil } // of 4.25 only
	_, err := New(Config{Rules: Own{Core: g.cfg.Rules.Core, After: []string{"after.conf"}}}, &gate.API{Name: "shop"}, tools)
	if err == nil || !strings.Contains(err.Error(), "there is no rule 956100") {
		t.Error(err)
	}
}

// Lists of words are found whichever part of the rules names them.
func TestListsOfAllPartsAreFound(t *testing.T) {
	tools := folders(nil)
	tools.Files = func(name string) ([]byte, error) {
		return map[string][]byte{
			"before.conf": []byte(`SecRule ARGS:q "@pmFromFile before.data" "id:10001,phase:2,deny"`), "before.data": []byte("tea\n"),
			"after.conf": []byte(`SecRule ARGS:q "@pmFromFile after.data" "id:10002,phase:2,deny"`), "after.data": []byte("milk\n"),
		}[name], nil
	}
	own := Own{Before: []string{"before.conf"}, After: []string{"after.conf"}}
	for name, g := range map[string]*Guard{
		"of another release": pinned(t, tools, Config{Rules: own}),
		"of the program": func() *Guard {
			g, err := New(Config{Rules: own, Budget: time.Minute}, &gate.API{Name: "shop"}, tools)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}(),
	} {
		for text, want := range map[string]bool{"coffee": true, "tea": false, "milk": false, "/etc/passwd": false} {
			s := sample{method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: text}}}
			if v := g.Check(t.Context(), s.exchange()); v.Allowed() != want {
				t.Errorf("%s: %s: %+v", name, text, v)
			}
		}
	}
}

// What is said of core rules, and refused.
func TestWrongCoreRules(t *testing.T) {
	small := fstest.MapFS{
		"crs-setup.conf.example": {Data: []byte("SecDefaultAction \"phase:2,log,pass\"\n")},
		"rules/REQUEST-942.conf": {Data: []byte("SecRule ARGS \"@contains zebra\" \"id:942100,phase:2,deny\"\n")},
	}
	broken := maps.Clone(small)
	broken["rules/REQUEST-943.conf"] = &fstest.MapFile{Data: []byte("# a script\nSecRuleScript a.lua\n")}
	refused := maps.Clone(small)
	refused["rules/REQUEST-943.conf"] = &fstest.MapFile{Data: []byte("SecRule ARGS \"@rx (?=a)\" \"id:943100,phase:2,deny\"\n")}
	tools := folders(map[string]fs.FS{"small": small, "broken": broken, "refused": refused, "deep/er": small})
	const trying = "gatehouse waf try --rules small --requests DIR tells what they would change"
	pin := pinOf(t, small)
	other := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		core              Core
		path, what, write string
	}{
		"no folder":        {Core{Pin: pin}, "rules.core.from", "it is not said in which folder", "from: coreruleset-4.26.0"},
		"no pin":           {Core{From: "small"}, "rules.core", "the core rules in small have no pin, so that whatever lies there would apply; they are " + pin + " now; " + trying, "pin: " + pin},
		"another pin":      {Core{From: "small", Pin: other}, "rules.core.pin", "the core rules in small are not those of this pin: they are " + pin + "; put back what was pinned, or try what is there (" + trying + ") and write its pin", ""},
		"no pin at all":    {Core{From: "small", Pin: "4.25.0"}, "rules.core.pin", `"4.25.0" is no pin, which reads sha256: and 64 hexadecimal digits; ` + trying, ""},
		"capital letters":  {Core{From: "small", Pin: strings.ToUpper(pin)}, "rules.core.pin", "is no pin", ""},
		"outside":          {Core{From: "../small", Pin: pin}, "rules.core.from", `"../small" is no folder below that of the document`, "from: coreruleset-4.26.0"},
		"absolute":         {Core{From: "/etc/crs", Pin: pin}, "rules.core.from", `"/etc/crs" is no folder below`, "from: coreruleset-4.26.0"},
		"here":             {Core{From: ".", Pin: pin}, "rules.core.from", `"." is no folder below`, "from: coreruleset-4.26.0"},
		"nothing there":    {Core{From: "nothing", Pin: pin}, "rules.core.from", "nothing: there is no core rule set in it as it is released", ""},
		"not carried out":  {Core{From: "broken", Pin: pinOf(t, broken)}, "rules.core.from", "broken/rules/REQUEST-943.conf:2: SecRuleScript: the engine runs no Lua", `SecRule ARGS "@rx ..." "id:...,phase:2,deny"`},
		"does not compile": {Core{From: "refused", Pin: pinOf(t, refused)}, "rules.core.from", "refused/rules/REQUEST-943.conf:1: @rx: the engine has no lookahead", `"@rx (?:a)"`},
	} {
		_, err := New(Config{Rules: Own{Core: c.core}}, &gate.API{Name: "shop"}, tools)
		list, _ := err.(mistake.List) //nolint:errorlint // New gives it as it is
		if len(list) != 1 || list[0].Path != c.path || !strings.Contains(list[0].What, c.what) || list[0].Write != c.write {
			t.Errorf("%s: %v\nwant %s: %s (write: %s)", name, err, c.path, c.what, c.write)
		}
	}
	for _, from := range []string{"small", "small/", "./small", "deep/er"} {
		if _, err := New(Config{Rules: Own{Core: Core{From: from, Pin: pin}}}, &gate.API{Name: "shop"}, tools); err != nil {
			t.Error(from, err)
		}
	}
}

// One compiled rule set is shared by all APIs and by all documents that follow (issue 6, line 9): twenty-five APIs and fifty
// reloads make no second one, of the program's rules, of a pinned release or of own files, nor of the rules about answers.
func TestRulesAreSharedByAllAPIsAndReloads(t *testing.T) {
	tools := folders(nil)
	tools.Files = func(string) ([]byte, error) {
		return []byte(`SecRule ARGS:q "@streq tea" "id:10001,phase:2,deny,msg:'tea'"`), nil
	}
	pin := Core{From: "crs-4.0.0", Pin: pinOf(t, earlier.FS)}
	for name, c := range map[string]struct {
		cfg           Config
		reloads, apis int
	}{
		"the program's": {Config{}, 50, 25},
		"a release":     {Config{Rules: Own{Core: pin}}, 5, 5},
		"own files":     {Config{Rules: Own{After: []string{"own.conf"}}}, 3, 3},
		"both":          {Config{Rules: Own{Core: pin, After: []string{"own.conf"}}}, 3, 3},
	} {
		var first *Guard
		for reload := range c.reloads {
			for range c.apis {
				g, err := New(c.cfg, &gate.API{Name: "shop"}, tools)
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = g
				}
				if g.set != first.set || g.core != first.core || g.core.answers != first.core.answers || g.derived() != first.derived() {
					t.Fatalf("%s: the rules of reload %d are not those before", name, reload)
				}
			}
		}
	}
}
