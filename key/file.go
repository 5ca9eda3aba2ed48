package key

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// File is a Place: one file of mode 0600, replaced whole by a rename and forced to the disk, so that after a crash at any
// instant either the old keyring or the new one is there. Processes lock each other out by FILE.lock.
type File struct{ Path string }

// Where gives the path.
func (f File) Where() string { return f.Path }

// Load reads the file.
func (f File) Load(context.Context) ([]byte, int64, error) {
	data, err := readBounded(f.Path, maxDocument+1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the keyring: %w", err)
	}
	return data, contentVersion(data), nil
}

// Save replaces the file.
func (f File) Save(ctx context.Context, data []byte, version int64) (int64, error) {
	dir := filepath.Dir(f.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("make the keyring's directory: %w", err)
	}
	unlock, err := lock(ctx, f.Path+".lock")
	if err != nil {
		return 0, fmt.Errorf("lock the keyring: %w", err)
	}
	defer unlock()
	_, current, err := f.Load(ctx)
	if err != nil {
		return 0, err
	}
	if current != version {
		return 0, ErrConflict
	}
	if err := replaceFile(f.Path, data); err != nil {
		return 0, fmt.Errorf("write the keyring: %w", err)
	}
	return contentVersion(data), nil
}

// contentVersion names content by its hash. Each keyring counts its generation, so that none comes back by chance.
func contentVersion(data []byte) int64 {
	sum := sha256.Sum256(data)
	return int64(binary.BigEndian.Uint64(sum[:8])>>1) | 1 // never 0, never negative
}

// lock waits for an exclusive lock between processes (flock) until ctx ends. It ends with the process that holds it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("%s is held by another process: %w", path, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// replaceFile writes data to path by way of a temporary file beside it: all or nothing, on the disk when it returns.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+".new-") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already when all went well
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// createFile writes data to a path that must not be there, and forces it to the disk.
func createFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, bytes.NewReader(data))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path)
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder forces names to the disk.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// readBounded reads at most limit bytes of a file.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit))
	return data, errors.Join(err, file.Close())
}
