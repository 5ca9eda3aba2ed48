// Package scan finds secrets in documents, contracts and source trees: tokens of known services, private keys, passwords in
// URLs, literals under the names of secrets, and text that only chance writes. It tells file, line, column and kind, and
// never the secret. What it stops: credentials that are committed once and stay in every copy of a repository for ever.
//
// A line is allowed by a comment on it or on the line before: "gatehouse:allow-secret" and the reason. Without a reason
// the comment itself is a finding. What can hold no comment is named in the file IgnoreFile of the tree, with the reason.
package scan

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/kit/leak"
)

// Options bound a scan. The zero Options are good.
type Options struct {
	MaxFile     int64         // bytes of one file; a longer one is left out and named. Default 4 MiB
	MaxTotal    int64         // bytes in all. Default 1 GiB
	MaxFindings int           // default 1000
	MaxTime     time.Duration // default 2m
	Now         func() time.Time
	// Progress is told about the files that were looked at; nil is silence.
	Progress func(done, total int64, what string)
}

// Finding is one place that gives something away.
type Finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // 1-based
	Column  int    `json:"column"` // 1-based, in characters
	Kind    string `json:"kind"`
	Excerpt string `json:"excerpt"` // the line, with everything hidden that looks like a secret
}

// Left is a file that was not looked at, and why.
type Left struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

// Report is what a scan found. It is only whole when Stopped is empty.
type Report struct {
	Findings []Finding `json:"findings"`
	Files    int       `json:"files"`   // that were looked at
	Bytes    int64     `json:"bytes"`   // of them
	Allowed  int       `json:"allowed"` // findings that are allowed with a reason
	Left     []Left    `json:"left,omitempty"`
	Stopped  string    `json:"stopped,omitempty"` // why the scan ended early
}

const (
	hidden     = "••••"
	mark       = "gatehouse:allow-secret"
	maxExcerpt = 120 // characters
	sniff      = 8 << 10
	maxLine    = 64 << 10 // a longer line is looked at in pieces of this length that overlap
	overlap    = 1 << 10
	maxLeft    = 1000
)

func (o Options) withDefaults() Options {
	if o.MaxFile <= 0 {
		o.MaxFile = 4 << 20
	}
	if o.MaxTotal <= 0 {
		o.MaxTotal = 1 << 30
	}
	if o.MaxFindings <= 0 {
		o.MaxFindings = 1000
	}
	if o.MaxTime <= 0 {
		o.MaxTime = 2 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64, string) {}
	}
	return o
}

// skipped are folders that hold no work of people's own.
var skipped = []string{".git", ".hg", ".svn", "node_modules"}

// errStop ends a walk early.
var errStop = errors.New("stop")

// walk is one scan under way.
type walk struct {
	opt     Options
	end     time.Time
	report  Report
	root    string     // where the list of what is ignored lies
	ignored []*ignored // that list
}

// Tree looks at every file below root of a file system, such as os.DirFS(folder). Links are not followed: what they lead
// to is either in the tree as well or none of its business. An error means that root itself can't be read.
func Tree(ctx context.Context, fsys fs.FS, root string, opt Options) (Report, error) {
	w := &walk{opt: opt.withDefaults()}
	w.end = w.opt.Now().Add(w.opt.MaxTime)
	if _, err := fs.Stat(fsys, root); err != nil {
		return Report{}, fmt.Errorf("scan %s: %w", root, err)
	}
	w.readIgnored(fsys, root)
	err := fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case w.over(ctx):
			return errStop
		case err != nil:
			w.leave(name, reasonOf(err))
			return nil
		case d.IsDir() && name != root && slices.Contains(skipped, d.Name()):
			return fs.SkipDir
		case d.IsDir():
			if why, yes := w.leaves(name); yes && name != root {
				w.leave(name, why)
				return fs.SkipDir
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			return nil
		case !d.Type().IsRegular():
			w.leave(name, "is no regular file")
			return nil
		}
		return w.file(ctx, fsys, name)
	})
	if err != nil && !errors.Is(err, errStop) {
		return w.report, fmt.Errorf("scan %s: %w", root, err)
	}
	if err == nil && w.report.Stopped == "" {
		w.needless()
	}
	return w.report, nil
}

// File looks at one file's text, which was read already; name is for the findings and says by its ending what it is.
func File(name string, text []byte, opt Options) Report {
	w := &walk{opt: opt.withDefaults()}
	w.end = w.opt.Now().Add(w.opt.MaxTime)
	w.text(context.Background(), name, bytes.NewReader(text))
	w.report.Files, w.report.Bytes = 1, int64(len(text))
	return w.report
}

// over tells that the scan has used up what it may, and notes it.
func (w *walk) over(ctx context.Context) bool {
	switch {
	case w.report.Stopped != "":
	case ctx.Err() != nil:
		w.report.Stopped = "was told to stop"
	case !w.opt.Now().Before(w.end):
		w.report.Stopped = fmt.Sprintf("has taken %s; look at parts of the tree, or allow more time", w.opt.MaxTime)
	case w.report.Bytes >= w.opt.MaxTotal:
		w.report.Stopped = fmt.Sprintf("has read %d bytes; look at parts of the tree, or allow more", w.opt.MaxTotal)
	case len(w.report.Findings) >= w.opt.MaxFindings:
		w.report.Stopped = fmt.Sprintf("has %d findings; close some first, or allow more", w.opt.MaxFindings)
	}
	return w.report.Stopped != ""
}

func (w *walk) leave(name, why string) {
	if len(w.report.Left) < maxLeft {
		w.report.Left = append(w.report.Left, Left{shown(name), why})
	}
}

// reasonOf gives an error without the path, which stands beside it.
func reasonOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

func (w *walk) file(ctx context.Context, fsys fs.FS, name string) error {
	f, err := fsys.Open(name)
	if err != nil {
		w.leave(name, reasonOf(err))
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		w.leave(name, "changed while it was looked at")
		return nil
	}
	if info.Size() > w.opt.MaxFile {
		w.leave(name, fmt.Sprintf("is longer than %d bytes", w.opt.MaxFile))
		return nil
	}
	in := bufio.NewReaderSize(io.LimitReader(f, w.opt.MaxFile), sniff)
	if first, _ := in.Peek(sniff); bytes.IndexByte(first, 0) >= 0 {
		return nil // binary
	}
	w.report.Files++
	w.report.Bytes += info.Size()
	w.opt.Progress(int64(w.report.Files), 0, name)
	w.text(ctx, name, in)
	if w.over(ctx) {
		return errStop
	}
	return nil
}

// text looks at every line of a file.
func (w *walk) text(ctx context.Context, name string, from io.Reader) {
	in := bufio.NewReaderSize(from, maxLine)
	look := looker{walk: w, name: shown(name), path: name, data: isData(name), locked: isLock(name)}
	for number := 1; ; number++ {
		line, err := in.ReadString('\n')
		if line != "" {
			look.line(number, strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				w.leave(name, reasonOf(err))
			}
			return
		}
		if number%1000 == 0 && w.over(ctx) || len(w.report.Findings) >= w.opt.MaxFindings {
			return
		}
	}
}

// looker goes through the lines of one file.
type looker struct {
	walk         *walk
	name, path   string // as it is shown, and as it is
	data, locked bool
	allowed      bool // by the line before
	inKey        bool // within a private key that was told already
	inPublic     bool // within a certificate
}

func (l *looker) line(number int, line string) {
	allowed := l.allowed
	l.allowed = false
	if at := strings.Index(line, mark); at >= 0 && !strings.HasPrefix(line[at+len(mark):], `"`) {
		if reason := strings.Trim(line[at+len(mark):], " \t:-#/*<>()"); len(reason) < 4 {
			l.found(number, line, leak.Found{Begin: at, End: at + len(mark), Kind: "allowed without a reason"})
		} else {
			allowed, l.allowed = true, true
		}
	}
	if l.inKey {
		l.inKey = !strings.Contains(line, "-----END ")
		return
	}
	public := l.inPublic
	for _, at := range certificate.FindAllStringSubmatch(line, -1) {
		l.inPublic = at[1] == "BEGIN"
		public = true
	}
	for _, f := range pieces(line, l.data) {
		text := line[f.Begin:f.End]
		switch {
		case f.Kind == leak.Random && (public || l.locked || isPublic(line, text)):
			continue
		case f.Kind == leak.PrivateKey && !holdsKey(line[f.End:]):
			continue
		case isExample(text, f.Kind), f.Kind == leak.Literal && !l.data && isJoined(line, f):
			continue
		}
		l.inKey = f.Kind == leak.PrivateKey && !strings.Contains(line[f.End:], "-----END ")
		if allowed || l.walk.ignores(l.path, string(f.Kind)) {
			l.walk.report.Allowed++
			continue
		}
		l.found(number, line, f)
	}
}

// pieces finds what a line gives away; a very long one is looked at in pieces.
func pieces(line string, data bool) []leak.Found {
	if len(line) <= maxLine {
		return leak.Find(line, data)
	}
	var all []leak.Found
	for begin := 0; begin < len(line); begin += maxLine - overlap {
		end := min(begin+maxLine, len(line))
		for _, f := range leak.Find(line[begin:end], data) {
			f.Begin, f.End = f.Begin+begin, f.End+begin
			if n := len(all); n == 0 || f.Begin >= all[n-1].End {
				all = append(all, f)
			}
		}
		if end == len(line) {
			break
		}
	}
	return all
}

func (l *looker) found(number int, line string, f leak.Found) {
	if len(l.walk.report.Findings) >= l.walk.opt.MaxFindings {
		return
	}
	l.walk.report.Findings = append(l.walk.report.Findings, Finding{
		File: l.name, Line: number, Column: 1 + utf8.RuneCountInString(line[:f.Begin]), Kind: string(f.Kind), Excerpt: excerpt(line, f),
	})
}

// excerpt is the line around a finding, with it and everything else that looks like a secret hidden.
func excerpt(line string, f leak.Found) string {
	// What stands before is judged with the secret in place, so that a part of a longer one isn't shown.
	before, after := line[max(0, f.Begin-400):f.Begin], line[f.End:min(len(line), f.End+400)]
	if f.Kind == leak.PrivateKey {
		after = ""
	}
	text := strings.TrimSpace(leak.Mask(before, hidden)) + " " + hidden + " " + leak.Mask(after, hidden)
	text = strings.Join(strings.Fields(printable(text)), " ")
	if all := []rune(text); len(all) > maxExcerpt {
		at := max(0, min(len([]rune(leak.Mask(before, hidden)))-maxExcerpt/2, len(all)-maxExcerpt))
		text = "…" + string(all[at:at+maxExcerpt]) + "…"
	}
	return text
}

// printable takes out what would move a terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// shown is a file's name as it may be printed.
func shown(name string) string { return leak.Mask(printable(name), hidden) }

// isData tells by a file's ending that values in it need no quotes.
func isData(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".yaml", ".yml", ".json", ".toml", ".ini", ".conf", ".cfg", ".properties", ".env", ".tfvars", ".txtar", ".netrc", ".npmrc", ".pypirc":
		return true
	}
	base := path.Base(name)
	return strings.HasPrefix(base, ".env") || base == ".netrc" || base == ".npmrc" || base == ".pypirc" || base == ".pgpass"
}
