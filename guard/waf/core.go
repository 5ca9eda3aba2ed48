package waf

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
	"weak"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/guard/waf/response"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Core names a core rule set that lies in a folder as it is released, in place of the one that is part of the program.
type Core struct {
	// Folder beside or below the document, with crs-setup.conf.example and rules/ of a release. Without it, the core rules are those of the program.
	From string `yaml:"from"`
	// What the folder has to hold, as gatehouse waf try --rules prints it. A folder that holds anything else is refused.
	Pin string `yaml:"pin"`
}

// builtInVersion is the version of the core rules that are part of the program. A test holds it against them.
const builtInVersion = "OWASP_CRS/4.25.0"

// pins are what a pin looks like.
var pins = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// core is a core rule set as the engine is given it: Gatehouse's own settings ahead of it, then the rules. It never changes.
type core struct {
	version      string // as its rules say it
	pin          string // "" for the one of the program
	ahead, rules string
	files        fs.FS                          // that rules name
	read         func() (*seclang.Files, error) // the same, as it is written, once
	set          *ruleSet                       // these rules alone
	answers      *response.Rules
}

// compiled makes the set, which is compiled when it is first asked for.
func (c *core) compiled() *core {
	c.set = newSet(c.ahead+c.rules, c.files)
	c.answers = response.NewRules(func() (coraza.WAF, error) {
		err := c.set.compile() // before the engine is looked at
		return c.set.engine, err
	}, c.files, threadTime)
	return c
}

// builtIn is the core rule set that is part of the program.
func builtIn() *core {
	ahead, rules, _ := strings.Cut(directives, coreBegins)
	return (&core{version: builtInVersion, ahead: ahead, rules: coreBegins + rules, files: coreruleset.FS, read: coreFiles}).compiled()
}

// coreFiles are Gatehouse's own rules and the core rules as they are written, read once.
var coreFiles = sync.OnceValues(func() (*seclang.Files, error) {
	names, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil {
		return nil, err
	}
	files, wrong := seclang.Read(coreruleset.FS, append([]string{"@crs-setup.conf.example"}, names...)...)
	ours, more := gatehouseFiles()
	return seclang.Join(ours, files), append(wrong, more...).Err()
})

// gatehouseFiles are what stands ahead of the core rules.
func gatehouseFiles() (*seclang.Files, mistake.List) {
	ahead, _, _ := strings.Cut(directives, coreBegins)
	return seclang.Parse("gatehouse", ahead)
}

// coreFrom makes a core rule set of a release: with its setup and the settings of the document, as the one of the program.
func coreFrom(release *seclang.Release) (*core, error) {
	ours, wrong := gatehouseFiles()
	if len(wrong) > 0 {
		return nil, wrong
	}
	if err := release.Read(ours); err != nil {
		return nil, err
	}
	setup, err := release.Setup.Text()
	if err != nil {
		return nil, err
	}
	rules, err := release.Rules.Text()
	if err != nil {
		return nil, err
	}
	ahead, behind, _ := strings.Cut(directives, coreBegins)
	between := strings.TrimSuffix(behind, coreEnds)
	c := &core{version: release.Version, pin: release.Pin, ahead: ahead, rules: setup.Directives + "\n" + between + rules.Directives, files: rules.Over(setup.Over(nil))}
	c.read = func() (*seclang.Files, error) { return seclang.Join(ours, release.Setup, release.Rules), nil }
	c.compiled()
	if err := c.set.compile(); err != nil {
		return nil, fmt.Errorf("the engine does not take these rules: %w", err)
	}
	return c, nil
}

// LoadRelease compiles a core rule set for a trial: whatever documents say, these are the core rules. Its lists are known to
// the engine by their content, so that several sets can be asked in one process. Mistakes have their file and line.
func LoadRelease(release *seclang.Release) (*Rules, error) {
	c, err := coreFrom(release)
	if err != nil {
		return nil, err
	}
	r := newRules(c)
	r.trial = true
	return r, nil
}

// released gives the core rules that a document asks for. With an error they are those of the program, so that the rest of the
// document can be read. Paths of mistakes are inside the section.
func (r *Rules) released(c Core, folder func(name string) seclang.Folder) (*core, error) {
	if r.trial || c == (Core{}) {
		return r.core, nil
	}
	found, err := r.pinned(c, folder)
	if err != nil {
		return r.core, err
	}
	return found, nil
}

// pinned gives the core rules of a folder that holds what its pin says. What was compared with the pin is what is compiled:
// the folder is read once for each document.
func (r *Rules) pinned(c Core, folder func(name string) seclang.Folder) (*core, error) {
	var m mistake.List
	from := path.Clean(c.From)
	switch {
	case c.From == "":
		m.Add("from", "from: coreruleset-4.26.0", "it is not said in which folder the core rules lie")
	case !fs.ValidPath(from) || from == ".":
		m.Add("from", "from: coreruleset-4.26.0", "%q is no folder below that of the document", c.From)
	case folder == nil:
		m.Add("from", "", "there are no folders here")
	case c.Pin != "" && !pins.MatchString(c.Pin):
		m.Add("pin", "", "%q is no pin, which reads sha256: and 64 hexadecimal digits; %s", c.Pin, tryIt(c.From))
	}
	if m.Err() != nil {
		return nil, m
	}
	release, err := seclang.OpenRelease(folder(from))
	switch {
	case err != nil:
		m.Add("from", "", "%s: %v", c.From, err)
	case c.Pin == "":
		m.Add("", "pin: "+release.Pin, "the core rules in %s have no pin, so that whatever lies there would apply; they are %s now; %s", c.From, release.Pin, tryIt(c.From))
	case c.Pin != release.Pin:
		m.Add("pin", "", "the core rules in %s are not those of this pin: they are %s; put back what was pinned, or try what is there (%s) and write its pin", c.From, release.Pin, tryIt(c.From))
	default:
		found, err := r.keep(release)
		m.Under("from", located(mistakesIn(c.From, err)).Err())
		return found, m.Err()
	}
	return nil, m
}

// tryIt is how rules are tried before they apply.
func tryIt(from string) string {
	return "gatehouse waf try --rules " + from + " --requests DIR tells what they would change"
}

// keep gives the core rules of a release, which are compiled once for all documents that pin them.
func (r *Rules) keep(release *seclang.Release) (*core, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.releases[release.Pin].Value(); c != nil {
		return c, nil
	}
	c, err := coreFrom(release)
	if err != nil {
		return nil, err
	}
	for pin, p := range r.releases {
		if p.Value() == nil {
			delete(r.releases, pin)
		}
	}
	r.releases[release.Pin] = weak.Make(c)
	return c, nil
}

// mistakesIn are the mistakes of an error, each in a file of the folder.
func mistakesIn(folder string, err error) (list mistake.List) {
	list.Under("", err)
	for i, m := range list {
		if m.File != "" {
			list[i].File = path.Join(folder, m.File)
		}
	}
	return list
}

// Core tells by which core rules the guard judges: their version and, unless they are those of the program, their pin.
func (g *Guard) Core() string {
	if g.core.pin == "" {
		return g.core.version + " of this program"
	}
	return strings.TrimPrefix(g.core.version+", "+g.core.pin, ", ")
}
