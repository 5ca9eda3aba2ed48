package backup

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// unpack reads an archive into a directory, which no name in it can leave. With durable every file is on the disk before
// its end is reported.
func unpack(directory string, durable bool, r *reader, in io.Reader) (Manifest, error) {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return Manifest{}, err
	}
	defer root.Close()
	r.create = func(name string) (io.WriteCloser, error) {
		name = filepath.FromSlash(name)
		if parent := filepath.Dir(name); parent != "." {
			if err := root.MkdirAll(parent, 0o700); err != nil {
				return nil, err
			}
		}
		file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		if durable {
			return synced{file}, nil
		}
		return file, nil
	}
	return r.read(in)
}

// synced is a file that is on the disk when it is closed.
type synced struct{ *os.File }

func (s synced) Close() error { return errors.Join(s.Sync(), s.File.Close()) }

// scratch is a directory that is removed when it is done with, if need be by the next process.
type scratch struct {
	path string
	held *os.File
}

// newScratch makes a directory prefix* that only this user sees, and removes earlier ones that no process holds any more.
func newScratch(prefix string) (*scratch, error) {
	left, _ := filepath.Glob(prefix + "*")
	for _, name := range left {
		if old, err := hold(name); err == nil {
			old.remove()
		}
	}
	path, err := os.MkdirTemp(filepath.Dir(prefix), filepath.Base(prefix))
	if err != nil {
		return nil, err
	}
	return hold(path)
}

func hold(path string) (*scratch, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &scratch{path, dir}, nil
}

func (s *scratch) remove() {
	_ = os.RemoveAll(s.path)
	_ = s.held.Close()
}
