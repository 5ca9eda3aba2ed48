package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/gatehouse-sec/gatehouse/store"
)

// What Open refuses it leaves as it was, byte for byte, its log too, and says what to do.
func TestOpenRefuses(t *testing.T) {
	garbage := bytes.Repeat([]byte("what is this? "), 1000)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, o *Options)
		want  error
		words string
	}{
		"wrong key":     {func(t *testing.T, o *Options) { o.Key = under(t, 3) }, ErrKey, "give the key that it was made with"},
		"wrong keys":    {func(t *testing.T, o *Options) { o.Key = under(t, 3, 4, 5) }, ErrKey, "none of the 3"},
		"short key":     {func(t *testing.T, o *Options) { o.Key = must(secretFrom("short")) }, ErrKey, "32 bytes, this one has 5"},
		"garbage":       {func(t *testing.T, o *Options) { write(t, o.Path, garbage) }, ErrKey, "none of the 1"},
		"a short file":  {func(t *testing.T, o *Options) { write(t, o.Path, []byte("hello")) }, ErrKey, "none of the 1"},
		"an empty file": {func(t *testing.T, o *Options) { write(t, o.Path, nil) }, ErrDamaged, "it is empty"},
		"a plain file": {func(t *testing.T, o *Options) {
			write(t, o.Path, append([]byte("SQLite format 3\x00"), make([]byte, 8000)...))
		}, ErrKey, "not encrypted"},
		"not there":         {func(t *testing.T, o *Options) { o.MustExist = true; remove(t, o.Path) }, ErrMissing, "restore it from a backup"},
		"only a log":        {func(t *testing.T, o *Options) { remove(t, o.Path); write(t, o.Path+"-wal", garbage) }, ErrMissing, "put the file back"},
		"open to others":    {func(t *testing.T, o *Options) { chmod(t, o.Path, 0o644) }, nil, "chmod 600"},
		"others' directory": {func(t *testing.T, o *Options) { chmod(t, filepath.Dir(o.Path), 0o777) }, nil, "chmod 700"},
		"a directory":       {func(t *testing.T, o *Options) { remove(t, o.Path); mkdir(t, o.Path) }, nil, "no plain file"},
		"a link": {func(t *testing.T, o *Options) {
			if err := errors.Join(os.Rename(o.Path, o.Path+"x"), os.Symlink(o.Path+"x", o.Path)); err != nil {
				t.Fatal(err)
			}
		}, nil, "no plain file"},
		"newer": {func(t *testing.T, o *Options) {
			n := *o
			n.migrations = longerHistory()
			_ = open(t, n).Close()
		}, ErrNewer, "start the newer program again"},
		"another's database": {func(t *testing.T, o *Options) {
			remove(t, o.Path)
			write(t, o.Path, nil)
			c := newCipher(vfs.Find(""), false)
			c.hold(current, bytes.Repeat([]byte{1}, keySize))
			if err := must(dial(c.uri(o.Path, current), settings)).raw.Exec("CREATE TABLE t (a)"); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, "not one of this program"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, somewhere(t))
			d := open(t, o)
			put(t, d, "a", strings.Repeat("x", 10_000))
			_ = d.Close()
			c.spoil(t, &o)
			before := photograph(t, o.Path)
			_, err := Open(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), c.words) || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if after := photograph(t, o.Path); after != before {
				t.Error("a refused file was changed")
			}
		})
	}
}

// photograph gives what lies at path and in its log.
func photograph(t *testing.T, path string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{path, path + "-wal"} {
		data, err := os.ReadFile(name)
		if err != nil {
			data = []byte(err.Error())
		}
		all.Write(data)
	}
	return all.String()
}

// A wrong key must not cost the log: what was acknowledged and is in the log only is there for the right key.
func TestAWrongKeyLeavesTheLog(t *testing.T) {
	o := options(t, somewhere(t))
	lines := killed(t, "write "+o.Path, 100e6) // made under key 1, killed: a log remains
	wrong := o
	wrong.Key = under(t, 3, 4)
	for range 3 {
		if _, err := Open(context.Background(), wrong); !errors.Is(err, ErrKey) {
			t.Fatal(err)
		}
	}
	o.Key = under(t, 3, 2, 1)
	judge(t, o, lines)
}

// The first page was torn by a loss of power while the log was being copied back: the log has it whole.
func TestATornFirstPage(t *testing.T) {
	o := options(t, somewhere(t))
	d := open(t, o)
	for i := range 20 {
		put(t, d, fmt.Sprint("k/", i), strings.Repeat("v", 5000))
	}
	torn := o // what a loss of power leaves at this moment
	torn.Path = o.Path + ".torn"
	file := must(os.ReadFile(o.Path))
	copy(file[2000:3000], make([]byte, 1000))
	write(t, torn.Path, file)
	write(t, torn.Path+"-wal", must(os.ReadFile(o.Path+"-wal")))
	torn.MustExist = true
	d = open(t, torn)
	for i := range 20 {
		has(t, d, fmt.Sprint("k/", i), strings.Repeat("v", 5000))
	}
	if err := d.Check(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestFilesAreForOneUser(t *testing.T) {
	o := options(t, somewhere(t))
	d := open(t, o)
	put(t, d, "a", "1")
	if err := d.Snapshot(context.Background(), filepath.Join(filepath.Dir(o.Path), "copy.db"), key(t, 9), nil); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Dir(o.Path), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Twenty open a store at once that isn't there yet: one makes it, all have the same.
func TestMadeOnce(t *testing.T) {
	o := options(t, somewhere(t))
	var wg sync.WaitGroup
	all := make([]*DB, 20)
	for i := range all {
		wg.Go(func() {
			d, err := Open(context.Background(), o)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = d
			if _, err := d.Write(context.Background(), store.Write{Key: "who", Value: []byte{byte(i)}, Version: store.Any}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, d := range all {
		if d == nil {
			continue
		}
		if r, err := d.Get(context.Background(), "who"); err != nil || r.Version != 20 {
			t.Errorf("version %d, %v", r.Version, err)
		}
		_ = d.Close()
	}
}

// A flipped bit somewhere in the file: the check says so, or nothing was there; it never panics, and never hides in silence
// over what it read.
func TestDamage(t *testing.T) {
	o := options(t, somewhere(t))
	d := open(t, o)
	for i := range 50 {
		put(t, d, "k/"+strings.Repeat("x", i+1), strings.Repeat("v", 3000))
	}
	_ = d.Close()
	data := must(os.ReadFile(o.Path))
	found := 0
	for at := 4096; at < len(data); at += 4096 * 3 {
		spoilt := bytes.Clone(data)
		spoilt[at] ^= 1
		write(t, o.Path, spoilt)
		d, err := Open(context.Background(), o)
		if err == nil {
			err = d.Check(context.Background())
			_ = d.Close()
		}
		if err != nil {
			found++
			if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d: %v", at, err)
			}
		}
	}
	if found == 0 {
		t.Error("no damage was found at all")
	}
}

func TestReadOnly(t *testing.T) {
	if err := (&DB{path: "/x"}).explain(sqlite3.READONLY); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "let this user write") {
		t.Error(err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
