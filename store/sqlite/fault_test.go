package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/gatehouse-sec/gatehouse/store"
)

// faulty is a file layer of which the n-th operation fails, and those after it when it lasts.
type faulty struct {
	vfs.VFS
	at      int64 // 0: never
	lasting bool
	err     error
	count   atomic.Int64
}

func (f *faulty) fails() error {
	n := f.count.Add(1)
	if f.at > 0 && (n == f.at || f.lasting && n > f.at) {
		return f.err
	}
	return nil
}

func (f *faulty) Before(string, string) error { return f.fails() }

func (f *faulty) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if err := f.fails(); err != nil {
		return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN)
	}
	file, flags, err := f.VFS.Open(name, flags)
	return &faultyFile{file, f}, flags, err
}

func (f *faulty) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if err := f.fails(); err != nil {
		return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN)
	}
	file, flags, err := vfsutil.WrapOpenFilename(f.VFS, name, flags)
	if err != nil {
		return nil, flags, err
	}
	return &faultyFile{file, f}, flags, nil
}

func (f *faulty) Delete(path string, dirSync bool) error {
	if err := f.fails(); err != nil {
		return vfs.SystemError(err, sqlite3.IOERR_DELETE)
	}
	return f.VFS.Delete(path, dirSync)
}

type faultyFile struct {
	vfs.File
	f *faulty
}

func (f *faultyFile) code(err error, other sqlite3.ExtendedErrorCode) error {
	if errors.Is(err, syscall.ENOSPC) {
		return vfs.SystemError(err, sqlite3.FULL)
	}
	return vfs.SystemError(err, other)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.f.fails(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return 0, f.code(err, sqlite3.IOERR_READ)
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.f.fails(); err != nil {
		half, _ := f.File.WriteAt(p[:len(p)/2], off) // as a disk does that is interrupted
		return half, f.code(err, sqlite3.IOERR_WRITE)
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Sync(flags vfs.SyncFlag) error {
	if err := f.f.fails(); err != nil {
		return f.code(err, sqlite3.IOERR_FSYNC)
	}
	return f.File.Sync(flags)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.f.fails(); err != nil {
		return f.code(err, sqlite3.IOERR_TRUNCATE)
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f *faultyFile) Unwrap() vfs.File               { return f.File }
func (f *faultyFile) LockState() vfs.LockLevel       { return vfsutil.WrapLockState(f.File) }

// steps is how far apart the failing operations are: all of them in a long campaign.
func steps(n int64) int64 {
	if os.Getenv("GATEHOUSE_SOAK") == "1" {
		return 1
	}
	return max(1, n/14)
}

// scenario does everything that writes, and gives what was acknowledged, and the keys under which the file may be.
func scenario(o Options, dir string) (acked map[string]string, keys []byte, err error) {
	acked, keys = map[string]string{}, []byte{1}
	ctx := context.Background()
	d, err := Open(ctx, o)
	if err != nil {
		return acked, keys, err
	}
	defer d.Close()
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	writeSome := func(name string) {
		for i := range 4 {
			k, v := fmt.Sprintf("%s/%d", name, i), strings.Repeat(name, 3000)
			if _, err := d.Write(ctx, store.Write{Key: k, Value: []byte(v)}); err != nil {
				note(err)
				continue
			}
			acked[k] = v
		}
		err := d.WriteAll(ctx, store.Write{Key: name + "/x", Value: []byte(name)}, store.Write{Key: name + "/y", Value: []byte(name)})
		if err != nil {
			note(err)
		} else {
			acked[name+"/x"], acked[name+"/y"] = name, name
		}
	}
	writeSome("before")
	note(d.Snapshot(ctx, filepath.Join(dir, "copy.db"), must(secretOf(9)), nil))
	keys = []byte{2, 1}
	note(d.Rekey(ctx, must(secretOf(2))))
	writeSome("after")
	return acked, keys, first
}

// The N-th operation on a file fails, first, second, ... until nothing fails any more. Whatever was acknowledged is there,
// what was refused is wholly there or wholly not, and the file opens afterwards, or was never made.
func TestNthOperationFails(t *testing.T) {
	for name, kind := range map[string]struct {
		err     error
		lasting bool
	}{
		"EIO once": {syscall.EIO, false}, "EIO from then on": {syscall.EIO, true},
		"ENOSPC once": {syscall.ENOSPC, false}, "ENOSPC from then on": {syscall.ENOSPC, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := run(t, 0, kind.err, kind.lasting)
			// Half a first page in a change of key, where only the journal tells the key, lies between the short form's steps.
			for at := whole/6 - 6; at < whole/6+6; at++ {
				run(t, at, kind.err, kind.lasting)
			}
			for at := int64(1); at <= whole; at += steps(whole) {
				run(t, at, kind.err, kind.lasting)
			}
		})
	}
}

// run gives the number of operations.
func run(t *testing.T, at int64, kind error, lasting bool) int64 {
	t.Helper()
	dir := t.TempDir()
	files := &faulty{VFS: vfs.Find(""), at: at, lasting: lasting, err: kind}
	o := options(t, filepath.Join(dir, "state", "gatehouse.db"))
	o.Files, o.Patience, o.Share = files, 200*time.Millisecond, 1
	o.Key = under(t, 1, 2) // as after Rekey, when the store asks for its keys again
	acked, keys, err := scenario(o, dir)
	if at == 0 && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	if err != nil && !errors.Is(err, kind) && !errors.Is(err, store.ErrUnavailable) && !strings.Contains(err.Error(), o.Path) {
		t.Errorf("operation %d: the error tells neither cause nor place: %v", at, err)
	}
	o.Files = nil
	o.Key = under(t, keys...)
	if _, err := os.Stat(o.Path); errors.Is(err, fs.ErrNotExist) && len(acked) == 0 {
		return files.count.Load()
	}
	o.MustExist = true
	d, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("operation %d failed, and then the store doesn't open: %v", at, err)
	}
	defer d.Close()
	if err := d.Check(context.Background()); err != nil {
		t.Errorf("operation %d: %v", at, err)
	}
	for k, v := range acked {
		if r, err := d.Get(context.Background(), k); err != nil || string(r.Value) != v {
			t.Errorf("operation %d: acknowledged %s is lost: %v", at, k, err)
		}
	}
	for _, pair := range []string{"before", "after"} {
		_, x := d.Get(context.Background(), pair+"/x")
		_, y := d.Get(context.Background(), pair+"/y")
		if (x == nil) != (y == nil) {
			t.Errorf("operation %d: %s is half there: %v, %v", at, pair, x, y)
		}
	}
	put(t, d, "goes/on", "x")
	if _, err := os.Stat(filepath.Join(dir, "copy.db")); err == nil {
		c := o
		c.Path, c.Key = filepath.Join(dir, "copy.db"), under(t, 9)
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		copied := open(t, c)
		has(t, copied, "before/0", acked["before/0"])
		if err := copied.Check(context.Background()); err != nil {
			t.Errorf("operation %d: the copy: %v", at, err)
		}
		_ = copied.Close()
	}
	return files.count.Load()
}
