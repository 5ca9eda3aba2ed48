package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// IgnoreFile lies at the root of a tree and names what is no secret there, for files that can hold no comment. A line is
//
//	PATTERN: REASON                  everything in files of this path (path.Match), or below a folder when it ends in /
//	PATTERN [KIND, KIND]: REASON     findings of these kinds only
//
// and # begins a comment. A line without a reason is a finding, and so is one that nothing needs any more: a list that only
// grows would hide the next secret in an old file.
const IgnoreFile = ".gatehouse-scan-ignore"

const maxIgnore = 64 << 10

// ignored is one line of it.
type ignored struct {
	line    int
	pattern string
	kinds   []string // none: all
	reason  string
	used    bool
}

// readIgnored reads the list of a tree; one without it has none.
func (w *walk) readIgnored(fsys fs.FS, root string) {
	name := path.Join(root, IgnoreFile)
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && len(data) > maxIgnore {
		err = fmt.Errorf("is longer than %d bytes", maxIgnore)
	}
	if err != nil {
		w.leave(name, reasonOf(err))
		return
	}
	w.root = root
	for i, line := range bytes.Split(data, []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		g, why := parseIgnored(text)
		if g.line = i + 1; why != "" {
			w.wrong(name, g.line, why)
			continue
		}
		w.ignored = append(w.ignored, &g)
	}
}

func parseIgnored(text string) (g ignored, why string) {
	place, reason, ok := strings.Cut(text, ": ")
	g.pattern, g.reason = strings.TrimSpace(place), strings.TrimSpace(reason)
	if before, kinds, some := strings.Cut(g.pattern, " ["); some {
		list, closed := strings.CutSuffix(kinds, "]")
		if !closed {
			return g, "not understood; write PATTERN [KIND, KIND]: REASON"
		}
		g.pattern = strings.TrimSpace(before)
		for k := range strings.SplitSeq(list, ",") {
			g.kinds = append(g.kinds, strings.TrimSpace(k))
		}
	}
	_, err := path.Match(g.pattern, "")
	switch {
	case !ok || len(g.reason) < 4:
		return g, "ignored without a reason"
	case err != nil || !fs.ValidPath(strings.TrimSuffix(g.pattern, "/")) || strings.Trim(g.pattern, "*/.") == "":
		return g, "not understood; write a path below this folder, such as testdata/*.json or testdata/"
	}
	return g, ""
}

// wrong is a finding in the list itself.
func (w *walk) wrong(name string, line int, what string) {
	if len(w.report.Findings) < w.opt.MaxFindings {
		w.report.Findings = append(w.report.Findings, Finding{File: shown(name), Line: line, Column: 1, Kind: what})
	}
}

// below gives a name as the list writes it.
func (w *walk) below(name string) string {
	return strings.TrimPrefix(name, strings.TrimPrefix(w.root+"/", "./"))
}

// leaves tells why a folder isn't looked into.
func (w *walk) leaves(folder string) (reason string, yes bool) {
	at := slices.IndexFunc(w.ignored, func(g *ignored) bool {
		return len(g.kinds) == 0 && g.pattern == w.below(folder)+"/"
	})
	if at < 0 {
		return "", false
	}
	return w.ignored[at].reason, true
}

// ignores tells that the list names a finding.
func (w *walk) ignores(name, kind string) bool {
	name = w.below(name)
	for _, g := range w.ignored {
		if len(g.kinds) > 0 && !slices.Contains(g.kinds, kind) {
			continue
		}
		same, _ := path.Match(g.pattern, name)
		if same || strings.HasSuffix(g.pattern, "/") && strings.HasPrefix(name, g.pattern) {
			g.used = true
			return true
		}
	}
	return false
}

// needless tells of lines that nothing needs. A folder may be absent: it may hold what is made from the rest.
func (w *walk) needless() {
	for _, g := range w.ignored {
		if !g.used && !strings.HasSuffix(g.pattern, "/") {
			w.wrong(path.Join(w.root, IgnoreFile), g.line, "ignored for nothing: no such finding is there")
		}
	}
}
