package source

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// git runs the real git, without anybody's configuration.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", args...)
	c.Dir = dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example"}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s (needs the package git)", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func repository(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	commitAll(t, dir, "1")
	return dir
}

// commitAll commits a document and a contract that say which generation they are of.
func commitAll(t testing.TB, dir, generation string) string {
	t.Helper()
	write(t, dir+"/prod/gatehouse.yaml", generation)
	write(t, dir+"/prod/orders.yaml", generation)
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", generation)
	return git(t, dir, "rev-parse", "HEAD")
}

func TestGitReadsWhatIsCommitted(t *testing.T) {
	dir := repository(t)
	first := git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "tag", "-a", "v1", "-m", "annotated")
	git(t, dir, "tag", "light")
	commitAll(t, dir, "2")
	git(t, dir, "worktree", "add", "-q", dir+"-tree", "-b", "topic", "v1")
	t.Cleanup(func() { _ = os.RemoveAll(dir + "-tree") })
	git(t, dir, "clone", "-q", "--bare", dir, dir+"-bare")
	t.Cleanup(func() { _ = os.RemoveAll(dir + "-bare") })
	write(t, dir+"/prod/gatehouse.yaml", "not committed")
	write(t, dir+"/prod/orders.yaml", "half upda")
	git(t, dir, "add", "-A") // not even what is staged counts
	for place, want := range map[string]string{
		dir + "//prod/gatehouse.yaml":                         "2",
		dir + "//prod/gatehouse.yaml@main":                    "2",
		dir + "//prod/gatehouse.yaml@refs/heads/main":         "2",
		dir + "//prod/gatehouse.yaml@v1":                      "1",
		dir + "//prod/gatehouse.yaml@light":                   "1",
		dir + "//prod/gatehouse.yaml@" + first:                "1",
		dir + "/.git//prod/gatehouse.yaml@main":               "2",
		dir + "-tree//prod/gatehouse.yaml":                    "1",
		dir + "-tree//prod/gatehouse.yaml@main":               "2",
		dir + "-bare//prod/gatehouse.yaml@main":               "2",
		dir + "//prod/gatehouse.yaml@refs/tags/v1":            "1",
		dir + "//prod/gatehouse.yaml@other":                   "error no branch, tag or commit",
		dir + "//prod/gatehouse.yaml@" + first[:10]:           "error no branch, tag or commit",
		dir + "//prod/gatehouse.yaml@" + first[1:] + "0":      "error git fsck",
		dir + "//gatehouse.yaml@main":                         "error commit it",
		dir + "//prod@main":                                   "error no plain file",
		dir + "-none//gatehouse.yaml@main":                    "error no git repository",
		filepath.Dir(dir) + "//" + "prod/gatehouse.yaml@main": "error no git repository",
	} {
		d, c, err := both(open(t, "git:"+place, Options{}), "orders.yaml")
		if words, bad := strings.CutPrefix(want, "error "); bad {
			wants(t, err, words)
		} else if d != want || c != want || err != nil {
			t.Errorf("%s: %q with %q, %v, want %q", place, d, c, err, want)
		}
	}
	b, err := open(t, "git:"+dir+"//prod/gatehouse.yaml@v1", Options{}).Read(context.Background())
	must(t, err)
	if b.State().Generation != first || b.File != "prod/gatehouse.yaml" {
		t.Errorf("%+v of %s", b.State(), b.File)
	}
}

// A tag that has a branch's name would silently take its place; whoever may push tags could exchange the document.
func TestGitRefusesAnAmbiguousReference(t *testing.T) {
	dir := repository(t)
	git(t, dir, "tag", "main")
	_, err := open(t, "git:"+dir+"//prod/gatehouse.yaml@main", Options{}).Read(context.Background())
	wants(t, err, "refs/tags/main", "@refs/heads/main")
}

func TestGitReadsPlainFilesInside(t *testing.T) {
	dir := repository(t)
	must(t, os.Symlink("/etc/passwd", dir+"/prod/link.yaml"))
	write(t, dir+"/secret.yaml", "s")
	write(t, dir+"/prod/c/a.yaml", "a")
	write(t, dir+"/prod/c/b.yaml", "b")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "x")
	b, err := open(t, "git:"+dir+"//prod/gatehouse.yaml@main", Options{}).Read(context.Background())
	must(t, err)
	for _, c := range []struct{ contract, path, want string }{
		{"prod/c/a.yaml", "prod/c/a.yaml", "a"},
		{"prod/c/a.yaml", "prod/c/b.yaml", "b"},
		{"secret.yaml", "secret.yaml", "s"}, // beside the folder, but committed: the operator named it
		{"prod/c/a.yaml", "secret.yaml", ""},
		{"prod/c/a.yaml", "prod/orders.yaml", ""},
		{"prod/link.yaml", "prod/link.yaml", ""},
		{"/etc/passwd", "/etc/passwd", ""},
		{"../etc/passwd", "../etc/passwd", ""},
	} {
		data, err := b.ReadFile(c.contract, c.path)
		if string(data) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s for %s: %q, %v", c.path, c.contract, data, err)
		}
	}
}

// Commits, packing and pruning go on while it is read: document and contract are always of one commit.
func TestGitCommitWhileReading(t *testing.T) {
	dir := repository(t)
	s := open(t, "git:"+dir+"//prod/gatehouse.yaml@main", Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 2; i < 22 && !t.Failed(); i++ {
			commitAll(t, dir, fmt.Sprint(i))
			if i%10 == 0 {
				git(t, dir, "gc", "-q", "--prune=now")
			}
		}
	}()
	seen := map[string]bool{}
	for {
		d, c, err := both(s, "orders.yaml")
		if err != nil || d != c {
			t.Fatalf("%q with %q, %v", d, c, err)
		}
		seen[d] = true
		select {
		case <-done:
			if len(seen) < 4 {
				t.Errorf("only %d commits seen: this test shows nothing", len(seen))
			}
			return
		default:
		}
	}
}

func TestGitNoticesCommits(t *testing.T) {
	dir := repository(t)
	s := open(t, "git:"+dir+"//prod/gatehouse.yaml@main", Options{Poll: 10 * time.Millisecond})
	_, _, err := both(s, "orders.yaml")
	must(t, err)
	write(t, dir+"/prod/gatehouse.yaml", "in the work tree")
	if changed(s, 100*time.Millisecond) {
		t.Error("the work tree counts")
	}
	commitAll(t, dir, "2")
	if !changed(s, 2*time.Second) {
		t.Error("a commit is not noticed")
	}
	if d, c, err := both(s, "orders.yaml"); d != "2" || c != "2" || err != nil {
		t.Errorf("%q with %q, %v", d, c, err)
	}
}

// A repository that is nonsense is an error, never a crash (row G18).
func TestGitDamaged(t *testing.T) {
	dir := repository(t)
	n := 0
	_ = filepath.Walk(dir+"/.git/objects", func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			n++
			_ = os.Chmod(path, 0o600)
			_ = os.Truncate(path, info.Size()/2)
		}
		return nil
	})
	_, _, err := both(open(t, "git:"+dir+"//prod/gatehouse.yaml@main", Options{}), "orders.yaml")
	if err == nil || n < 4 {
		t.Errorf("%v after %d objects were damaged", err, n)
	}
	write(t, dir+"/.git/refs/heads/main", "garbage")
	if _, _, err = both(open(t, "git:"+dir+"//prod/gatehouse.yaml@main", Options{}), "orders.yaml"); err == nil {
		t.Error("garbage is a reference")
	}
}
