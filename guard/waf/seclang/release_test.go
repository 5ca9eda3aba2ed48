package seclang

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	earlier "github.com/corazawaf/coraza-coreruleset"
	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// small is a release as small as it can be.
func small() fstest.MapFS {
	return fstest.MapFS{
		"crs-setup.conf.example": {Data: []byte("SecDefaultAction \"phase:2,log,pass\"\nSecAction \"id:900990,phase:1,pass,nolog,setvar:tx.crs_setup_version=100\"\n")},
		"rules/REQUEST-942.conf": {Data: []byte("SecComponentSignature \"OWASP_CRS/1.0.0\"\nSecRule ARGS \"@pmFromFile words.data\" \"id:942100,phase:2,deny\"\n")},
		"rules/words.data":       {Data: []byte("zebra\n")},
		"README.md":              {Data: []byte("read me")},
	}
}

// plus is a copy with another file.
func plus(files fstest.MapFS, name, text string) fstest.MapFS {
	files = maps.Clone(files)
	files[name] = &fstest.MapFile{Data: []byte(text)}
	return files
}

func gatehouses(t *testing.T) *Files {
	t.Helper()
	f, wrong := Parse("gatehouse", "SecRuleEngine On\nSecRule REQBODY_ERROR \"!@eq 0\" \"id:100003,phase:2,deny\"\n")
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return f
}

// The releases that are at hand are taken as they are: the one of the program, and the first of the series.
func TestReleasesAreTaken(t *testing.T) {
	for version, c := range map[string]struct {
		folder Folder
		rules  int
	}{
		"OWASP_CRS/4.25.0":    {Dir(coreruleset.FS), 600},
		"OWASP_CRS/4.0.0-rc2": {Dir(earlier.FS), 550},
	} {
		r, err := OpenRelease(c.folder)
		if err != nil {
			t.Fatal(version, err)
		}
		if err := r.Read(gatehouses(t)); err != nil {
			t.Errorf("%s:\n%v", version, err)
			continue
		}
		if r.Version != version || len(r.Rules.IDs()) < c.rules {
			t.Errorf("%s with %d rules, want %s", r.Version, len(r.Rules.IDs()), version)
		}
	}
}

// A pin changes with every byte and every name that is taken, and with nothing else.
func TestPin(t *testing.T) {
	pin := func(files fstest.MapFS) string {
		t.Helper()
		r, err := OpenRelease(Dir(files))
		if err != nil {
			t.Fatal(err)
		}
		return r.Pin
	}
	first := pin(small())
	if len(first) != 71 {
		t.Error(first)
	}
	for name, files := range map[string]fstest.MapFS{
		"again":            small(),
		"another readme":   plus(small(), "README.md", "changed"),
		"an example":       plus(small(), "rules/REQUEST-900.conf.example", "# nothing"),
		"a test":           plus(small(), "tests/942100.yaml", "x"),
		"an empty plugin":  plus(small(), "plugins/empty-before.conf", "# nothing"),
		"a plugin's words": plus(small(), "plugins/readme.md", "nothing"),
	} {
		if pin(files) != first {
			t.Errorf("%s: the pin changes", name)
		}
	}
	seen := map[string]string{first: "as it is"}
	for name, files := range map[string]fstest.MapFS{
		"another word":  plus(small(), "rules/words.data", "zebrb\n"),
		"a longer list": plus(small(), "rules/words.data", "zebra\nlion\n"),
		"a new list":    plus(small(), "rules/more.data", ""),
		"a new file":    plus(small(), "rules/REQUEST-943.conf", ""),
		"a setup":       plus(small(), "crs-setup.conf.example", "# all\n"),
		"a space":       plus(small(), "rules/words.data", "zebra \n"),
	} {
		p := pin(files)
		if other := seen[p]; other != "" {
			t.Errorf("%s has the pin of %s", name, other)
		}
		seen[p] = name
	}
}

// What is no release, what of it can't be taken, and what the engine would not carry out.
func TestNoReleases(t *testing.T) {
	const rules = "rules/REQUEST-943.conf"
	huge := strings.Repeat("#", largestFile+1)
	many := small()
	for i := range mostReleased {
		many = plus(many, "rules/"+strings.Repeat("x", i+1)+".data", "x")
	}
	large := small()
	for i := range 5 {
		large = plus(large, "rules/"+strings.Repeat("x", i+1)+".data", strings.Repeat("#", largestFile))
	}
	only := small()
	delete(only, "rules/REQUEST-942.conf")
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"nothing":                    {fstest.MapFS{}, "there is no core rule set in it as it is released"},
		"rules without a setup":      {fstest.MapFS{"rules/a.conf": {}}, "there is no core rule set in it"},
		"a setup without rules":      {fstest.MapFS{"crs-setup.conf.example": {}}, "there is no core rule set in it"},
		"lists without rules":        {only, "rules holds no rules (*.conf)"},
		"a setup of one's own":       {plus(small(), "crs-setup.conf", "# mine"), "crs-setup.conf: the setup is taken as it is released, from crs-setup.conf.example"},
		"a plugin":                   {plus(small(), "plugins/wordpress-before.conf", ""), "plugins/wordpress-before.conf: plugins are no part of the release; name their files at rules: {before: [...], after: [...]}"},
		"a folder named like one":    {plus(small(), "rules/REQUEST-943.conf/a", ""), "rules/REQUEST-943.conf is no regular file"},
		"a huge file":                {plus(small(), "rules/huge.data", huge), "is larger than 8 MiB"},
		"too many files":             {many, "more than 500 files"},
		"too much together":          {large, "or all together than 32 MiB"},
		"a directive without effect": {plus(small(), rules, "SecRuleScript a.lua \"id:943100,phase:2,deny\"\n"), rules + ":1:1: SecRuleScript: the engine runs no Lua"},
		"a directive that isn't":     {plus(small(), rules, "# x\nSecRulez On\n"), rules + ":2:1: there is no directive SecRulez (write: SecRule)"},
		"a list that isn't there":    {plus(small(), rules, "SecRule ARGS \"@pmFromFile gone.data\" \"id:943100,phase:2,deny\"\n"), rules + ":1:1: "},
		"a list elsewhere":           {plus(small(), rules, "SecRule ARGS \"@pmFromFile ../../passwd\" \"id:943100,phase:2,deny\"\n"), rules + ":1:1: "},
		"an Include of others":       {plus(small(), rules, "Include /etc/gatehouse/*.conf\n"), rules + ":1:1: "},
		"the engine off":             {plus(small(), rules, "SecRuleEngine DetectionOnly\n"), rules + ":1:1: SecRuleEngine DetectionOnly: no rule denies any more"},
		"the engine off for some":    {plus(small(), rules, "SecRule REMOTE_ADDR \"@ipMatch 192.0.2.1\" \"id:943100,phase:1,pass,ctl:ruleEngine=Off\"\n"), "ctl:ruleEngine=Off"},
		"a rule that allows":         {plus(small(), rules, "SecRule ARGS \"@streq x\" \"id:943100,phase:2,allow\"\n"), "allow lets a request pass"},
		"levels in the setup":        {plus(small(), "crs-setup.conf.example", "SecAction \"id:900000,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=4\"\n"), "crs-setup.conf.example:1:1: setvar:tx.blocking_paranoia_level overrides for all APIs what the document says of levels"},
		"thresholds in a rule":       {plus(small(), rules, "SecAction \"id:943100,phase:1,pass,setvar:tx.inbound_anomaly_score_threshold=100\"\n"), "overrides for all APIs"},
		"scores taken away":          {plus(small(), rules, "SecAction \"id:943100,phase:1,pass,setvar:tx.inbound_anomaly_score_pl1=0\"\n"), "takes away from the scores"},
		"half of a release":          {plus(small(), rules, "SecRule ARGS \"@rx x\" \"id:943100,phase:2,block,setvar:'tx.inbound_anomaly_score_pl1=+5'\"\n"), rules + ":1:1: the rules add up scores, and rule 949110, which denies by them, is not among them"},
		"what denies, removed":       {plus(small(), rules, "SecRule TX:score \"@ge 5\" \"id:949110,phase:2,deny\"\nSecRuleRemoveById 949110\n"), rules + ":2:1: SecRuleRemoveById 949110 takes away rule 949110, which keeps the scores"},
		"each rule denies":           {plus(small(), "crs-setup.conf.example", "SecDefaultAction \"phase:2,log,deny\"\n"), "crs-setup.conf.example:1:1: the core rules add up scores, which needs pass as the default"},
		"an id of Gatehouse":         {plus(small(), rules, "SecAction \"id:100003,phase:1,pass\"\n"), "id 100003 is none of the core rule set's"},
		"an id of an operator":       {plus(small(), rules, "SecAction \"id:10001,phase:1,pass\"\n"), "own rules stand in own files"},
		"an id twice":                {plus(small(), rules, "SecAction \"id:942100,phase:1,pass\"\n"), "id 942100 is the id of the rule in rules/REQUEST-942.conf:2"},
		"a byte order mark":          {plus(small(), rules, "\xef\xbb\xbfSecAction \"id:943100,phase:1,pass\"\n"), rules + ":1:1: the file begins with a byte order mark"},
		"a chain without an end":     {plus(small(), rules, "SecRule ARGS \"@rx x\" \"id:943100,phase:2,deny,chain\"\n"), "the chain is not finished"},
	} {
		r, err := OpenRelease(Dir(c.files))
		if err == nil {
			err = r.Read(gatehouses(t))
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
}

// No link leads out of the folder, and none is waited for.
func TestALinkOutOfTheFolderIsRefused(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(outside, []byte("root"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"rules/words.data", "crs-setup.conf.example", "rules/REQUEST-942.conf"} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, small()); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, link)
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, name); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenRelease(Dir(root.FS())); err == nil || !strings.Contains(err.Error(), "escapes") {
			t.Errorf("%s: %v", link, err)
		}
		_ = root.Close()
	}
}

// changing answers something else each time that it is asked.
type changing struct {
	Folder
	asked map[string]int
}

func (c changing) ReadFile(name string) ([]byte, error) {
	c.asked[name]++
	data, err := c.Folder.ReadFile(name)
	if c.asked[name] > 1 {
		data = []byte("SecRuleEngine Off\n")
	}
	return data, err
}

// What the pin was made of is what the engine is given, whatever lies in the folder by then.
func TestAReleaseIsReadOnce(t *testing.T) {
	folder := changing{Dir(small()), map[string]int{}}
	r, err := OpenRelease(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(gatehouses(t)); err != nil {
		t.Fatal(err)
	}
	text, err := r.Rules.Text()
	if err != nil || len(text.Data) != 1 || strings.Contains(text.Directives, "Off") {
		t.Errorf("%+v %v", text, err)
	}
	for name, times := range folder.asked {
		if times != 1 {
			t.Errorf("%s was read %d times", name, times)
		}
	}
}

// Whatever lies in a folder is taken or refused with words, and the pin is of what is taken.
func FuzzRelease(f *testing.F) {
	f.Add("SecAction \"id:943100,phase:1,pass\"\n", "x\n", "SecDefaultAction \"phase:1,pass\"\n")
	f.Add("SecRule ARGS \"@pmFromFile words.data\" \"id:943100,chain\"\n SecRule ARGS x\n", "", "")
	f.Add("SecComponentSignature \"OWASP_CRS/\x1b[31m\"\n", "", "Include rules/words.data\n")
	f.Fuzz(func(t *testing.T, rules, words, setup string) {
		files := plus(plus(plus(small(), "rules/REQUEST-943.conf", rules), "rules/words.data", words), "crs-setup.conf.example", setup)
		r, err := OpenRelease(Dir(files))
		if err != nil {
			return
		}
		own, _ := Parse("gatehouse", "SecRuleEngine On\n")
		if err := r.Read(own); err != nil {
			return
		}
		if r.Version != "" && !version.MatchString(r.Version) {
			t.Errorf("%q", r.Version)
		}
		for _, files := range []*Files{r.Setup, r.Rules} {
			if text, err := files.Text(); err == nil && strings.Contains(strings.ToLower(text.Directives), "\nsecruleengine off") {
				t.Error("switched off:", text.Directives)
			}
		}
	})
}
