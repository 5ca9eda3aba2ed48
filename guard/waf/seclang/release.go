package seclang

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Folder is where a release lies. Names are below it and have slashes; it is the folder's business that no link leads out.
type Folder interface {
	List(name string) ([]string, error) // names of all that lies in a folder; "." is the folder itself
	ReadFile(name string) ([]byte, error)
}

// Dir is a folder that is a file system, best the FS of an os.Root.
func Dir(root fs.FS) Folder { return dir{root} }

type dir struct{ fs fs.FS }

func (d dir) List(name string) (names []string, err error) {
	list, err := fs.ReadDir(d.fs, name)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

func (d dir) ReadFile(name string) ([]byte, error) { return reader(d).file(name) }

// Release is a core rule set as it is released, read once: what its pin was made of is what the engine is given.
type Release struct {
	Pin     string // "sha256:" and 64 hexadecimal digits, over the names and contents of all that is taken
	Version string // such as OWASP_CRS/4.25.0; "" where the rules don't say it
	Setup   *Files // crs-setup.conf.example
	Rules   *Files
	files   map[string][]byte
	setup   string
}

// Bounds of a release; the largest there was has 2 MiB.
const (
	mostReleased    = 500 // files
	largestReleased = 32 << 20
)

// Where a folder has the setup and the rules: as the Core Rule Set is released, or as its Go module has it.
var layouts = []struct{ setup, rules string }{
	{"crs-setup.conf.example", "rules"},
	{"@crs-setup.conf.example", "@owasp_crs"},
}

// OpenRelease reads what belongs to a release: its setup, and the rules with their lists of words. All else in the folder is
// passed over, but for what somebody would miss. The release is not understood yet: Read does that.
func OpenRelease(folder Folder) (*Release, error) {
	top, err := folder.List(".")
	if err != nil {
		return nil, err
	}
	for _, at := range layouts {
		if !slices.Contains(top, at.setup) || !slices.Contains(top, at.rules) {
			continue
		}
		if slices.Contains(top, "crs-setup.conf") {
			return nil, errors.New("crs-setup.conf: the setup is taken as it is released, from " + at.setup + "; levels and thresholds are the document's (guards: {waf: {paranoia: 1, threshold: 5}}), " +
				"what else the file sets goes into a file of rules: {before: [...]}, and then it can be removed")
		}
		if slices.Contains(top, "plugins") {
			if err := withoutPlugins(folder); err != nil {
				return nil, err
			}
		}
		names, err := folder.List(at.rules)
		if err != nil {
			return nil, err
		}
		return take(folder, at.setup, at.rules, names)
	}
	return nil, errors.New("there is no core rule set in it as it is released: crs-setup.conf.example, and rules/*.conf")
}

// withoutPlugins refuses plugins: they would be relied on, and not be there.
func withoutPlugins(folder Folder) error {
	names, err := folder.List("plugins")
	for _, name := range names {
		if path.Ext(name) == ".conf" && !strings.HasPrefix(name, "empty-") { // of which a release has three
			return fmt.Errorf("plugins/%s: plugins are no part of the release; name their files at rules: {before: [...], after: [...]}, and remove them here", name)
		}
	}
	return err
}

func take(folder Folder, setup, rules string, names []string) (*Release, error) {
	r := &Release{setup: setup, files: map[string][]byte{}}
	taken := []string{setup}
	for _, name := range names {
		if ext := path.Ext(name); ext == ".conf" || ext == ".data" {
			taken = append(taken, rules+"/"+name)
		}
	}
	if len(taken) > mostReleased {
		return nil, fmt.Errorf("more than %d files", mostReleased)
	}
	size, found := 0, false
	for _, name := range taken {
		data, err := folder.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if size += len(data); len(data) > largestFile || size > largestReleased {
			return nil, fmt.Errorf("%s: larger than %d MiB, or all together than %d MiB", name, largestFile>>20, largestReleased>>20)
		}
		found = found || path.Ext(name) == ".conf" && name != setup
		r.files[name] = data
	}
	if !found {
		return nil, fmt.Errorf("%s holds no rules (*.conf)", rules)
	}
	r.Pin = "sha256:" + r.sum()
	return r, nil
}

// sum is a hash over names and contents.
func (r *Release) sum() string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		fmt.Fprintf(&all, "%q %x\n", name, sha256.Sum256(r.files[name]))
	}
	return hash([]byte(all.String()))
}

// version is what a release calls itself; it is printed.
var version = regexp.MustCompile(`^OWASP_CRS/[0-9A-Za-z.+-]{1,32}$`)

// Read splits the files into directives, and judges them behind Gatehouse's own. All that is wrong is returned, each with its
// file and line.
func (r *Release) Read(ours *Files) error {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if path.Ext(name) == ".conf" && name != r.setup {
			names = append(names, name)
		}
	}
	root := Named(r.file)
	setup, wrong := Read(root, r.setup)
	rules, more := Read(root, names...)
	if wrong = append(wrong, more...); len(wrong) > 0 {
		return wrong
	}
	r.Setup, r.Rules = setup, rules
	for _, d := range rules.Directives {
		if d.Name == "seccomponentsignature" && version.MatchString(d.Args) {
			r.Version = d.Args
		}
	}
	return judgeRelease(ours, setup, rules).Err()
}

// file is a file as it was when the pin was made.
func (r *Release) file(name string) ([]byte, error) {
	data, ok := r.files[name]
	if !ok {
		return nil, fmt.Errorf("%s is no part of the release: %w", name, fs.ErrNotExist)
	}
	return data, nil
}

// judgeRelease tells what stands against a core rule set: what the engine would not carry out, and what would switch
// inspection off. Nothing of it can be accepted as a risk: an operator's own files are the place for that.
func judgeRelease(ours, setup, rules *Files) mistake.List {
	all := Join(setup, rules)
	all.root = rules.root
	c := newCheck(Set{Core: ours, After: all, Phases: 5})
	c.release = true
	for i, k := range c.model.rules {
		c.model.rules[i].book = k.book || keepsScores(strconv.Itoa(k.id))
	}
	c.run()
	c.decides(all)
	return append(c.Refused, c.Insecure...)
}

// decides refuses rules that add up scores by which nobody denies: half of a release.
func (c *check) decides(all *Files) {
	if all.IDs()[denies] {
		return
	}
	for _, d := range all.Directives {
		if scores([]Directive{d}) {
			c.refuse(d, "", "the rules add up scores, and rule %d, which denies by them, is not among them: the release is not whole", denies)
			return
		}
	}
}

// denies is the rule that denies a request by its score, in all releases.
const denies = 949110

// isBook tells that a rule of the core rules sets, adds up or tells scores.
func isBook(head *Rule) bool {
	id, _ := head.find("id")
	return keepsScores(id)
}

func keepsScores(id string) bool {
	return len(id) == 6 && slices.Contains([]string{"901", "949", "959", "980"}, id[:3])
}
