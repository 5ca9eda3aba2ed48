package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// ErrBusy is returned while another backup is being made here, by this process or another.
var ErrBusy = errors.New("backup: another one is being made")

// spool is a directory of finished archives that have not reached their place, oldest first.
type spool struct {
	Directory
	most    int64
	dropped func(name string)

	mu   sync.Mutex
	lock *os.File
}

// begin takes the spool for this process.
func (s *spool) begin() error {
	if !s.mu.TryLock() {
		return ErrBusy
	}
	err := os.MkdirAll(s.Path, 0o700)
	if err == nil {
		s.lock, err = os.OpenFile(filepath.Join(s.Path, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err == nil {
		if err = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = s.lock.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				err = ErrBusy
			}
		}
	}
	if err != nil {
		s.mu.Unlock()
		if errors.Is(err, ErrBusy) {
			return err
		}
		return fmt.Errorf("spool of backups: %w", err)
	}
	s.sweep()
	return nil
}

func (s *spool) end() {
	_ = s.lock.Close()
	s.mu.Unlock()
}

// waiting lists the finished archives; a spool that was never used has none.
func (s *spool) waiting() ([]Object, error) {
	all, err := s.List(context.Background())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var backups []Object
	for _, o := range all {
		if _, _, _, ok := readName(o.Name); ok {
			backups = append(backups, o)
		}
	}
	return backups, err
}

// add has an archive written into the spool. It lies there whole, on the disk, under its name, or not at all.
func (s *spool) add(id string, write func(io.Writer) error) (name, sum string, size int64, err error) {
	file, err := os.CreateTemp(s.Path, partial+"*")
	if err != nil {
		return "", "", 0, fmt.Errorf("spool of backups: %w", err)
	}
	to := &bounded{file: file, spool: s, sum: sha256.New()}
	err = write(to)
	err = errors.Join(err, file.Sync(), file.Close())
	name = fileName(id, to.n)
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(s.Path, name))
	}
	if err != nil {
		return "", "", 0, errors.Join(err, os.Remove(file.Name()))
	}
	return name, hex.EncodeToString(to.sum.Sum(nil)), to.n, syncDirectory(s.Path)
}

// bounded writes into a spool and has it make room.
type bounded struct {
	file  *os.File
	spool *spool
	sum   hash.Hash
	n     int64
}

func (b *bounded) Write(data []byte) (int, error) {
	for {
		waiting, err := b.spool.waiting()
		if err != nil {
			return 0, err
		}
		used := b.n + int64(len(data))
		for _, w := range waiting {
			used += w.Size
		}
		if used <= b.spool.most {
			break
		}
		if len(waiting) == 0 {
			return 0, fmt.Errorf("the backup is larger than its spool, which holds %d bytes; raise backup.spool.size", b.spool.most)
		}
		if err := b.spool.Remove(context.Background(), waiting[0].Name); err != nil {
			return 0, err
		}
		b.spool.dropped(waiting[0].Name)
	}
	b.sum.Write(data)
	n, err := b.file.Write(data)
	b.n += int64(n)
	return n, err
}
