package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// partial is how the name of a file begins that is being written.
const partial = ".partial-"

// Directory is a place in the file system: a mounted disk, a share. Files are 0600.
type Directory struct {
	Path string
}

// String is the path.
func (d Directory) String() string { return d.Path }

// Put writes a file beside its name, has the disk take it, and gives it its name then.
func (d Directory) Put(ctx context.Context, name string, from io.ReadSeeker, size int64) error {
	if err := d.check(); err != nil {
		return err
	}
	d.sweep()
	if d.link(name, from, size) {
		return syncDirectory(d.Path)
	}
	file, err := os.CreateTemp(d.Path, partial+"*")
	if err != nil {
		return fmt.Errorf("put backup: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	n, err := io.Copy(file, withContext{ctx, from})
	if err == nil && n != size {
		err = fmt.Errorf("%d of %d bytes were read", n, size)
	}
	err = errors.Join(err, file.Sync())
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(d.Path, name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("put backup: %w", err), file.Close(), os.Remove(file.Name()))
	}
	return errors.Join(file.Close(), syncDirectory(d.Path))
}

// onDisk is a source that is a finished file, which the disk has taken.
type onDisk interface{ onDisk() *os.File }

// link gives a file that lies on the same disk a second name instead of copying it, where that can be done.
func (d Directory) link(name string, from io.ReadSeeker, size int64) bool {
	source, ok := from.(onDisk)
	if !ok {
		return false
	}
	info, err := source.onDisk().Stat()
	if err != nil || info.Size() != size || syscall.Flock(int(source.onDisk().Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false
	}
	next := filepath.Join(d.Path, partial+name)
	if os.Link(source.onDisk().Name(), next) != nil {
		return false
	}
	if os.Rename(next, filepath.Join(d.Path, name)) != nil {
		_ = os.Remove(next)
		return false
	}
	return true
}

// check refuses a directory that is not there: making one would put backups on the disk that a lost mount has uncovered.
func (d Directory) check() error {
	info, err := os.Stat(d.Path)
	if err != nil {
		return fmt.Errorf("place of backups: %w (make the directory, or mount it)", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("place of backups: %s is not a directory", d.Path)
	}
	return nil
}

// sweep removes what a crash has left half written; what another process is writing is locked.
func (d Directory) sweep() {
	left, _ := filepath.Glob(filepath.Join(d.Path, partial+"*"))
	for _, name := range left {
		file, err := os.Open(name)
		if err != nil {
			continue
		}
		if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.Remove(name)
		}
		_ = file.Close()
	}
}

// Get opens a file.
func (d Directory) Get(_ context.Context, name string) (io.ReadCloser, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(d.Path, filepath.Base(name)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNoBackup)
	}
	return file, err
}

// List gives the files that are no half-written ones.
func (d Directory) List(context.Context) ([]Object, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	var all []Object
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		all = append(all, Object{Name: e.Name(), Size: info.Size(), Time: info.ModTime()})
	}
	return all, nil
}

// Remove removes a file.
func (d Directory) Remove(_ context.Context, name string) error {
	if err := d.check(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.Path, filepath.Base(name))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove backup: %w", err)
	}
	return syncDirectory(d.Path)
}

func syncDirectory(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	err = file.Sync()
	if errors.Is(err, syscall.EINVAL) { // a share that knows no such thing
		err = nil
	}
	return errors.Join(err, file.Close())
}

// withContext reads until a context ends.
type withContext struct {
	ctx  context.Context
	from io.Reader
}

func (w withContext) Read(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.from.Read(b)
}
