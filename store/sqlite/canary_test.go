package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

const canary = "canary-5f1d0c9a"

// spy reads along what goes to the disk, under the cipher: also what is removed before anyone could look.
type spy struct {
	vfs.VFS
	temporary, hits, written atomic.Int64
}

func (s *spy) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, flags, err := vfsutil.WrapOpenFilename(s.VFS, name, flags)
	if err != nil {
		return nil, flags, err
	}
	return &spyFile{blockFile{file}, s, name == nil}, flags, nil
}

type spyFile struct {
	blockFile
	spy       *spy
	temporary bool
}

func (f *spyFile) WriteAt(p []byte, off int64) (int, error) {
	f.spy.written.Add(int64(len(p)))
	if f.temporary {
		f.spy.temporary.Add(int64(len(p)))
	}
	f.spy.hits.Add(int64(bytes.Count(p, []byte(canary))))
	return f.blockFile.WriteAt(p, off)
}

// A value and a key that are kept are found nowhere: not in the file, its log, its index, temporary files, a snapshot, nor
// what a change of key writes. The same work without the cipher finds them, so the search can find.
func TestCanaryIsNowhereOnDisk(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			dir, tmp := t.TempDir(), t.TempDir()
			t.Setenv("SQLITE_TMPDIR", tmp)
			t.Setenv("TMPDIR", tmp)
			s := &spy{VFS: vfs.Find("")}
			o := options(t, filepath.Join(dir, "state", "gatehouse.db"))
			o.Files, o.plain, o.Share = s, plain, 1
			o.Key = under(t, 1, 2)
			d := open(t, o)
			for i := range 100 {
				put(t, d, fmt.Sprintf("%s/%d", canary, i), strings.Repeat(canary+" ", 4000))
			}
			sort(t, d)
			found := grep(t, dir, tmp) // with log and index in place
			if err := d.Snapshot(context.Background(), filepath.Join(dir, "copy.db"), key(t, 9), nil); err != nil {
				t.Fatal(err)
			}
			if !plain {
				if err := d.Rekey(context.Background(), key(t, 2)); err != nil {
					t.Fatal(err)
				}
			}
			put(t, d, canary, canary)
			found += grep(t, dir, tmp)
			if s.temporary.Load() == 0 {
				t.Error("no temporary file was written: the sorting query is too small")
			}
			if got := found > 0 && s.hits.Load() > 0; got != plain || !plain && found+int(s.hits.Load()) > 0 {
				t.Errorf("%d files with the canary, %d writes of %d bytes in all", found, s.hits.Load(), s.written.Load())
			}
		})
	}
}

// sort makes SQLite write a temporary file.
func sort(t *testing.T, d *DB) {
	t.Helper()
	err := d.read(context.Background(), func(c *conn) error {
		if err := c.raw.Exec("PRAGMA temp_store = FILE; PRAGMA cache_size = 10"); err != nil {
			return err
		}
		return c.raw.Exec("SELECT count(*) FROM (SELECT value, key FROM record ORDER BY value || key DESC LIMIT 100000); CREATE TEMP TABLE t AS SELECT value FROM record; SELECT count(*) FROM t")
	})
	if err != nil {
		t.Fatal(err)
	}
}

func grep(t *testing.T, dirs ...string) (files int) {
	t.Helper()
	seen := 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			seen++
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(canary)) {
				files++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 3 {
		t.Errorf("only %d files were searched", seen)
	}
	return files
}

// A key is in no error and in no name that SQLite knows.
func TestKeyIsInNoMessage(t *testing.T) {
	o := options(t, somewhere(t))
	k, err := secretFrom("SECRETKEYSECRETKEYSECRETKEY12345")
	if err != nil {
		t.Fatal(err)
	}
	o.Key = k
	d := open(t, o)
	uri := d.cipher.uri(d.path, current)
	put(t, d, "a", "1")
	_, asked := d.Get(context.Background(), "bad key")
	other := o
	other.Key = under(t, 5)
	_, wrong := Open(context.Background(), other)
	if wrong == nil {
		t.Fatal("opened with a wrong key")
	}
	for _, text := range []string{uri, fmt.Sprint(asked), wrong.Error(), fmt.Sprintf("%+v", o), fmt.Sprintf("%#v", o)} {
		if strings.Contains(text, "SECRETKEY") || strings.Contains(strings.ToLower(text), "5345435245544b4559") {
			t.Errorf("the key is told: %s", text)
		}
	}
	has(t, d, "a", "1")
}
