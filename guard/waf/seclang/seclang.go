// Package seclang reads the SecLang files that an operator brings along and says, before they are in force, what the engine
// would not do with them. Coraza accepts much that it does not carry out: directives without effect, collections that stay
// empty, entries of lists that it drops, expressions of exclusions that it compares with something else. A rule that is
// silently off is worse than none, since somebody relies on it. This package promises three things. It splits files exactly
// as the engine does, or refuses them. Whatever the engine ignores or can't compile becomes a mistake with file, line and the
// nearest equivalent. And what it hands on with Text is what it has checked: one text, no further files opened, data files
// named by their content. Rows G1, G5, G18 and G20 of the adversary table are why: rules that aren't there, parts of the
// engine switched off from afar, and a rule set that ends the process.
//
// Start with Read, then Check, then Text. Exceptions, the comparison of two rule sets and the learning report live here too,
// since they speak of rules, targets and arguments in the same words.
package seclang

import "strconv"

// Directive is one directive as the engine reads it: continued lines joined, comments left out.
type Directive struct {
	Name string // lower case, such as "secrule"
	Args string // what follows the first space; quotes around the whole taken off as the engine does
	File string // below the root, with slashes
	Line int    // where it begins, 1-based
	raw  string // the joined line
	rule *Rule  // of SecRule and SecAction that could be split
}

// Files are the directives of some files in the order in which the engine would come by them.
type Files struct {
	Directives []Directive
	root       reader
}

// Join puts the directives of several parts into one, as the Core of a Set: Gatehouse's own and the core rule set. The whole
// has no folder, so it is not for Text.
func Join(parts ...*Files) *Files {
	all := new(Files)
	for _, p := range parts {
		all.Directives = append(all.Directives, p.Directives...)
	}
	return all
}

// IDs are the ids of all rules, for what names rules.
func (f *Files) IDs() map[int]bool {
	ids := map[int]bool{}
	for _, d := range f.Directives {
		if r, err := rule(d); err == nil {
			if id, ok := r.find("id"); ok {
				n, _ := strconv.Atoi(id)
				ids[n] = true
			}
		}
	}
	return ids
}

// What the readers bear. The engine's own bounds are the first two.
const (
	longestLine   = 64 << 10 // bytes of a line, with its end; what follows a longer one is never read by the engine
	mostIncludes  = 100      // Include directives
	largestFile   = 8 << 20  // bytes
	mostFiles     = 1000     // read, each as often as it is included
	mostDirective = 100_000  // directives together
)
