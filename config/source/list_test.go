package source

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// rules writes a folder beside a document.
func rules(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		write(t, filepath.Join(dir, name), name)
	}
}

// What lies in a folder is told for documents in files and in git.
func TestFoldersAreListed(t *testing.T) {
	dir := t.TempDir()
	rules(t, dir, "gatehouse.yaml", "crs/setup", "crs/rules/b.conf", "crs/rules/a.conf")
	repo := repository(t)
	rules(t, repo, "prod/crs/setup", "prod/crs/rules/b.conf", "prod/crs/rules/a.conf")
	git(t, repo, "add", "-A")
	git(t, repo, "commit", "-q", "-m", "rules")
	rules(t, repo, "prod/crs/rules/not-committed.conf")
	for place, folder := range map[string]string{dir + "/gatehouse.yaml": dir + "/crs", "git:" + repo + "//prod/gatehouse.yaml": "prod/crs"} {
		b, err := open(t, place, Options{}).Read(context.Background())
		must(t, err)
		top, err := b.List(folder)
		must(t, err)
		if !slices.Equal(top, []string{"rules", "setup"}) {
			t.Errorf("%s: %q", place, top)
		}
		names, err := b.List(folder + "/rules")
		must(t, err)
		if !slices.Equal(names, []string{"a.conf", "b.conf"}) {
			t.Errorf("%s: %q", place, names)
		}
		data, err := b.ReadFile(folder+"/.", folder+"/rules/a.conf")
		must(t, err)
		if !strings.HasSuffix(string(data), "crs/rules/a.conf") {
			t.Errorf("%s: %q", place, data)
		}
		if !slices.Contains(b.Files(), "crs/rules/a.conf") {
			t.Errorf("%s: a note would list %q", place, b.Files())
		}
		for _, wrong := range []string{folder + "/nothing", folder + "/setup"} {
			if names, err := b.List(wrong); err == nil {
				t.Errorf("%s: %s holds %q", place, wrong, names)
			}
		}
	}
}

// No link leads out of a folder, be it the last part of the way or the one before.
func TestNoLinkLeadsOutOfAFolder(t *testing.T) {
	dir := t.TempDir()
	rules(t, dir, "gatehouse.yaml", "secret/a.conf", "crs/setup")
	must(t, os.Symlink("../secret", filepath.Join(dir, "crs/rules")))
	must(t, os.Symlink("../secret/a.conf", filepath.Join(dir, "crs/a.conf")))
	b, err := open(t, dir+"/gatehouse.yaml", Options{}).Read(context.Background())
	must(t, err)
	for _, name := range []string{"crs/rules/a.conf", "crs/a.conf"} {
		if data, err := b.ReadFile(dir+"/crs/.", filepath.Join(dir, name)); err == nil {
			t.Errorf("%s gave %q", name, data)
		} else {
			wants(t, err, "lies outside of")
		}
	}
}

// A server can't tell what lies in a folder, and says so.
func TestAServerListsNoFolders(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("1")) }))
	defer server.Close()
	b, err := open(t, server.URL+"/gatehouse.yaml", Options{}).Read(context.Background())
	must(t, err)
	_, err = b.List("crs")
	wants(t, err, "a server does not tell what lies in a folder; take the document from a file or from git")
}

// A file that comes to lie in a folder is a change, so that it doesn't first show at the next start.
func TestAFileMoreInAFolderIsAChange(t *testing.T) {
	dir := t.TempDir()
	rules(t, dir, "gatehouse.yaml", "crs/setup")
	s := open(t, dir+"/gatehouse.yaml", Options{})
	b, err := s.Read(context.Background())
	must(t, err)
	_, err = b.List(dir + "/crs")
	must(t, err)
	if did, err := s.Changed(context.Background()); did || err != nil {
		t.Fatal(did, err)
	}
	rules(t, dir, "crs/more")
	must(t, os.Chtimes(dir+"/crs", time.Time{}, time.Now().Add(time.Hour))) // file systems whose clock is coarse
	if did, err := s.Changed(context.Background()); !did || err != nil {
		t.Error(did, err)
	}
	must(t, os.Chtimes(dir+"/crs", time.Time{}, time.Now()))
	if err := b.Accept(context.Background()); err == nil {
		t.Error("what changed while it was read was accepted")
	}
}

// A folder that was mounted is listed as it was read.
func TestAMountedFolderIsOfOneGeneration(t *testing.T) {
	m := &mounted{dir: t.TempDir()}
	m.exchange(t)
	b, err := open(t, filepath.Join(m.dir, "gatehouse.yaml"), Options{}).Read(context.Background())
	must(t, err)
	m.exchange(t)
	names, err := b.List(filepath.Join(m.dir, "..data"))
	must(t, err)
	if !slices.Equal(names, []string{"common.yaml", "gatehouse.yaml", "orders.yaml"}) {
		t.Errorf("%q", names)
	}
	must(t, b.Accept(context.Background()))
}
