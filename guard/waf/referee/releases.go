package referee

import (
	"io/fs"
	"strings"

	earlier "github.com/corazawaf/coraza-coreruleset"
	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// below is where another release of the Core Rule Set is found.
const below = "earlier/"

// Releases are the files of the Core Rule Set, and below earlier/ those of release 4.0.0-rc2.
func Releases() fs.FS { return releases{} }

// Earlier makes directives include the other release.
func Earlier(directives string) string {
	return strings.ReplaceAll(directives, "Include @", "Include "+below+"@")
}

type releases struct{}

// of is where a name leads.
func (releases) of(name string) (release fs.FS, rest, before string) {
	if _, rest, ok := strings.Cut(name, below); ok {
		return earlier.FS, rest, below
	}
	return coreruleset.FS, name, ""
}

// Open is what the engine uses for Include.
func (r releases) Open(name string) (fs.File, error) {
	release, rest, _ := r.of(name)
	return release.Open(rest)
}

// ReadFile is what the engine uses for lists.
func (r releases) ReadFile(name string) ([]byte, error) {
	release, rest, _ := r.of(name)
	return fs.ReadFile(release, rest)
}

// Glob is what the engine uses for Include with a *.
func (r releases) Glob(pattern string) ([]string, error) {
	release, rest, before := r.of(pattern)
	names, err := fs.Glob(release, rest)
	for i := range names {
		names[i] = before + names[i]
	}
	return names, err
}
