package source

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// The kinds of places.
const (
	kindFile = "file"
	kindGit  = "git"
	kindHTTP = "http"
)

// place is where a document lies, taken apart.
type place struct {
	kind string
	file string   // the file, or the path inside the repository
	repo string   // of git: the checkout or bare repository
	ref  string   // of git: branch, tag, full reference or commit
	url  *url.URL // of http
}

// maxPlace bounds what is taken for a place, in bytes.
const maxPlace = 4096

// parsePlace reads what stands behind --config:
//
//	gatehouse.yaml                                a file
//	git:/srv/policy//prod/gatehouse.yaml@main     a file of a commit; without @REF, of HEAD
//	https://policy.example/gatehouse.yaml         a server; http only on loopback
//
// A file whose name begins like one of the others is written with ./ before it.
func parsePlace(text string) (place, error) {
	switch {
	case text == "":
		return place{}, errors.New("no document is named; write --config gatehouse.yaml")
	case len(text) > maxPlace || strings.ContainsRune(text, 0):
		return place{}, fmt.Errorf("the document's place is longer than %d bytes, or holds a zero byte", maxPlace)
	case strings.HasPrefix(text, "git:"):
		return parseGit(strings.TrimPrefix(text, "git:"))
	case strings.HasPrefix(text, "https:") || strings.HasPrefix(text, "http:"):
		return parseURL(text)
	}
	return place{kind: kindFile, file: text}, nil
}

func parseGit(text string) (place, error) {
	const form = "write git:/path/to/checkout//gatehouse.yaml@main"
	repo, file, ok := strings.Cut(text, "//")
	if !ok || repo == "" {
		return place{}, fmt.Errorf("git:%s does not say which file of which repository; %s", text, form)
	}
	ref := "HEAD"
	if i := strings.LastIndexByte(file, '@'); i >= 0 {
		file, ref = file[:i], file[i+1:]
	}
	if !localName(file) {
		return place{}, fmt.Errorf("%q is not the path of a file inside the repository; %s", file, form)
	}
	if !validRef(ref) {
		return place{}, fmt.Errorf("%q is not a branch, tag, reference or commit; %s", ref, form)
	}
	return place{kind: kindGit, repo: repo, file: file, ref: ref}, nil
}

// validRef tells that a word could be the name of a reference (the rules of git check-ref-format) or a commit.
func validRef(ref string) bool {
	if ref == "" || len(ref) > 255 || ref[0] == '-' || strings.HasSuffix(ref, ".lock") || strings.HasSuffix(ref, ".") {
		return false
	}
	for _, part := range strings.Split(ref, "/") {
		if part == "" || part[0] == '.' {
			return false
		}
	}
	return !strings.Contains(ref, "..") && !strings.Contains(ref, "@{") && !strings.ContainsFunc(ref, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`~^:?*[\`, r)
	})
}

func parseURL(text string) (place, error) {
	u, err := url.Parse(text)
	if err != nil {
		return place{}, errors.New("the document's place is not a URL; write https://host/gatehouse.yaml") // text may hold a password
	}
	switch {
	case u.User != nil:
		return place{}, errors.New("the document's URL carries no user name or password; give a token or a client certificate by reference")
	case u.Hostname() == "":
		return place{}, errors.New("the document's URL names no host; write https://host/gatehouse.yaml")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return place{}, errors.New("the document's URL has neither query nor fragment: contracts and the note lie beside it, by their names")
	case u.EscapedPath() != u.Path || !localName(strings.TrimPrefix(u.Path, "/")):
		return place{}, fmt.Errorf("%q is not the plain path of a file; write https://host/gatehouse.yaml", u.EscapedPath())
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return place{}, fmt.Errorf("a document from %s would come without TLS, so that anybody on the way could write it; write https://%s%s (http is for loopback)", u.Host, u.Host, u.Path)
	}
	return place{kind: kindHTTP, file: path.Base(u.Path), url: u}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// localName tells that a name is a clean path with slashes that leads below where it begins, in words that stand in a note
// and in a URL as they are.
func localName(name string) bool {
	if name == "" || name == "." || len(name) > 1024 || name[0] == '/' || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`\%?#`, r) })
}

// String writes the place as it was given.
func (p place) String() string {
	switch p.kind {
	case kindGit:
		return "git:" + p.repo + "//" + p.file + "@" + p.ref
	case kindHTTP:
		return p.url.String()
	}
	return p.file
}
