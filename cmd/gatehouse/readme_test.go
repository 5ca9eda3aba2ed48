package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The README and the guide are run as a reader would run them: each document in one shell, from the root of the
// repository, block after block, with a home of its own and, on Linux, a loopback of its own, so that the ports on the page
// are the ports that are used.
//
//	```sh        is run. A line that ends in & stays up until the document ends.
//	```console   is shown and not run: it needs another machine, or root.
//	```text      after ```sh: these lines must be printed, in this order, within patience; ... stands for anything.
//	<!-- exit N -->     before ```sh: its last command ends with N. Otherwise no command may fail.
//	<!-- file NAME -->  before any block: the block is written to NAME in the shell's folder, as the text tells the reader to.
func TestDocuments(t *testing.T) {
	documents, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, "../../README.md")
	if len(documents) < 5 {
		t.Fatalf("only %d documents found", len(documents))
	}
	bench := newReader(t)
	for _, file := range documents {
		t.Run(strings.TrimPrefix(filepath.ToSlash(file), "../../"), func(t *testing.T) {
			if bench.alone {
				t.Parallel()
			}
			bench.follow(t, file)
		})
	}
}

// patience is how long a block may take to print what the page says.
const patience = 20 * time.Second

// asProgram makes this test binary the program, or a helper of the reader.
const asProgram = "GATEHOUSE_TEST_IS"

// TestTheProgramItself is gatehouse when the reader calls it: what is tested is what was compiled with the test.
func TestTheProgramItself(t *testing.T) {
	switch os.Getenv(asProgram) {
	case "gatehouse":
		for i, a := range os.Args {
			if a == "--" {
				os.Args = append([]string{"gatehouse"}, os.Args[i+1:]...)
				main()
			}
		}
	case "loopback":
		if err := raiseLoopback(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// reader is somebody who follows documents.
type reader struct {
	root  string // of the repository
	path  string // folder with gatehouse
	env   []string
	alone bool // each document has a loopback of its own
}

func newReader(t *testing.T) *reader {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the documents use %s: %v", tool, err)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{root: root, path: t.TempDir(), alone: canIsolate()}
	for name, mode := range map[string]string{"gatehouse": "gatehouse", "raise-loopback": "loopback"} {
		script := fmt.Sprintf("#!/bin/sh\n%s=%s exec '%s' -test.run '^TestTheProgramItself$' -- \"$@\"\n", asProgram, mode, self)
		if err := os.WriteFile(filepath.Join(r.path, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.goEnvironment(t)
	r.shop(t)
	return r
}

// goEnvironment keeps Go's caches where they are although the reader's home is new.
func (r *reader) goEnvironment(t *testing.T) {
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		r.env = append(r.env, name+"="+strings.TrimSpace(string(out)))
	}
}

// shop builds the example once, where the network is; it also reads its source, so that the result of this test is not
// taken from a cache when the shop has changed.
func (r *reader) shop(t *testing.T) {
	err := filepath.WalkDir(filepath.Join(r.root, "examples", "shop"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		_, err = os.ReadFile(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "run", "./examples/shop/cmd/shop", "--help")
	build.Dir, build.Env = r.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); !bytes.Contains(out, []byte("data")) {
		t.Fatalf("%v: %s", err, out)
	}
}

// follow runs a document.
func (r *reader) follow(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	s := &shell{t: t}
	s.cmd = exec.Command("bash", "--norc", "--noprofile")
	s.cmd.Dir = r.root
	s.cmd.Env = append([]string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + r.path + ":" + os.Getenv("PATH"), "CGO_ENABLED=0", "TERM=dumb"}, r.env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.WaitDelay = time.Second
	isolate(s.cmd, r.alone)
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.end()
	if r.alone {
		s.run(block{exit: "0", text: "raise-loopback"})
	}
	ran := 0
	for _, b := range blocks(string(text)) {
		switch {
		case b.file != "":
			s.run(block{line: b.line, exit: "0", text: "cat > '" + b.file + "' <<'END_OF_FILE'\n" + b.text + "END_OF_FILE"})
		case b.language == "sh":
			ran++
			s.run(b)
		}
		if t.Failed() {
			return
		}
	}
	if ran == 0 && !strings.Contains(string(text), "<!-- nothing to run -->") {
		t.Errorf("%s has no command that is run", file)
	}
}

// shell is one bash that runs a document's blocks.
type shell struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out output
	n   int
}

// output is what the shell and everything it started have printed.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

func (o *output) from(start int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text[start:])
}

// run runs one block and waits for its end and for what it must print.
func (s *shell) run(b block) {
	s.t.Helper()
	s.n++
	done := fmt.Sprintf("__done_%d__", s.n)
	start := len(s.out.from(0))
	script := "status=0; trap 'status=$?; echo \"__failed__ $BASH_COMMAND\"' ERR\n" +
		"eval \"$(cat <<'END_OF_BLOCK'\n" + b.text + "\nEND_OF_BLOCK\n)\" </dev/null\nlast=$?\n" +
		"trap - ERR; echo \"" + done + " $last\"\n"
	if _, err := io.WriteString(s.in, script); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		said := s.out.from(start)
		end := regexp.MustCompile(done + ` (\d+)`).FindStringSubmatch(said)
		missing := b.missing(said)
		switch {
		case end != nil && end[1] != b.exit:
			s.t.Errorf("line %d: exit code %s, want %s:\n%s\nprinted:\n%s", b.line, end[1], b.exit, b.text, said)
			return
		case end != nil && b.exit == "0" && strings.Contains(said, "__failed__"):
			s.t.Errorf("line %d: a command failed:\n%s\nprinted:\n%s", b.line, b.text, said)
			return
		case end != nil && missing == "":
			return
		case time.Now().After(deadline):
			s.t.Errorf("line %d: this was not printed: %q (ended: %v)\n%s\nprinted:\n%s", b.line, missing, end != nil, b.text, said)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// end stops the shell and everything it started.
func (s *shell) end() {
	_ = s.in.Close()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
}

// block is one fenced block of a document.
type block struct {
	line     int
	language string
	text     string
	prints   []string // lines of the ```text block that follows
	file     string
	exit     string
}

var (
	fence   = regexp.MustCompile("^```([a-z]*)$")
	comment = regexp.MustCompile(`^<!-- (exit|file) (\S+) -->$`)
)

// blocks reads the blocks of a document.
func blocks(document string) []block {
	var list []block
	var open *block
	next := block{exit: "0"}
	adjacent := false // nothing but blank lines since the block before
	for i, line := range strings.Split(document, "\n") {
		switch m := fence.FindStringSubmatch(line); {
		case open == nil && m != nil:
			b := next
			b.line, b.language = i+1, m[1]
			open, next = &b, block{exit: "0"}
		case open != nil && line == "```":
			if open.language == "text" && open.file == "" && adjacent && len(list) > 0 && list[len(list)-1].language == "sh" {
				list[len(list)-1].prints = strings.Split(strings.TrimSpace(open.text), "\n")
			}
			list = append(list, *open)
			open, adjacent = nil, true
		case open != nil:
			open.text += line + "\n"
		default:
			if c := comment.FindStringSubmatch(line); c != nil {
				if c[1] == "exit" {
					next.exit = c[2]
				} else {
					next.file = c[2]
				}
			}
			adjacent = adjacent && strings.TrimSpace(line) == ""
		}
	}
	return list
}

// missing gives the first line that should have been printed and was not.
func (b block) missing(said string) string {
	lines := strings.Split(said, "\n")
	for _, want := range b.prints {
		want = strings.TrimSpace(want)
		if want == "" || want == "..." {
			continue
		}
		at := -1
		for i, line := range lines {
			if like(line, want) {
				at = i
				break
			}
		}
		if at < 0 {
			return want
		}
		lines = lines[at+1:]
	}
	return ""
}

// like tells whether a line contains what the page shows: ... is anything, and runs of blanks are one.
func like(line, want string) bool {
	line = strings.Join(strings.Fields(line), " ")
	for _, part := range strings.Split(want, "...") {
		part = strings.Join(strings.Fields(part), " ")
		i := strings.Index(line, part)
		if i < 0 {
			return false
		}
		line = line[i+len(part):]
	}
	return true
}

// A reader of pages that sees nothing, or forgives everything, proves nothing.
func TestTheReaderOfDocuments(t *testing.T) {
	list := blocks("x\n<!-- exit 2 -->\n```sh\nfalse\n```\n\n```text\na ... c\nd\n```\n<!-- file g.yaml -->\n```yaml\nk: v\n```\n```text\nnot of sh\n```\n")
	if len(list) != 4 || list[0].exit != "2" || len(list[0].prints) != 2 || list[2].file != "g.yaml" || list[2].text != "k: v\n" || list[2].prints != nil {
		t.Fatalf("%+v", list)
	}
	for _, c := range []struct{ said, missing string }{
		{"a b c\nd\n", ""},
		{"a   b\tc\nx\nd", ""},
		{"a b\nd", "a ... c"},
		{"d\na b c", "d"},
		{"", "a ... c"},
	} {
		if got := list[0].missing(c.said); got != c.missing {
			t.Errorf("%q: missing %q, want %q", c.said, got, c.missing)
		}
	}
}
