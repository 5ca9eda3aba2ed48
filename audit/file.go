package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// File is a sink of rotated files in one directory: events.jsonl is being written, events-<first seq>.jsonl are closed.
// Two processes never write one file: the second one takes events.2.jsonl, and so on.
type File struct {
	cfg    Config
	stem   string
	file   *os.File
	info   os.FileInfo
	size   int64
	failed bool // the last write may have left half a line behind
}

// OpenFile opens the directory for writing and tells where its chain stands. A line that a crash cut short is removed;
// its event had not been written.
func OpenFile(cfg Config) (*File, Position, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Directory, 0o700); err != nil {
		return nil, Position{}, fmt.Errorf("open event log: %w", err)
	}
	for n := 1; n <= 64; n++ {
		stem := "events"
		if n > 1 {
			stem = fmt.Sprintf("events.%d", n)
		}
		f := &File{cfg: cfg, stem: stem}
		at, err := f.open()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		return f, at, err
	}
	return nil, Position{}, fmt.Errorf("open event log: %s is in use by 64 other processes", cfg.Directory)
}

func (f *File) open() (Position, error) {
	file, err := os.OpenFile(f.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Position{}, fmt.Errorf("open event log: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return Position{}, errors.Join(err, file.Close())
	}
	f.file = file
	at, end, err := lastEntry(file)
	if err == nil {
		f.info, err = file.Stat()
	}
	if err == nil && at.Seq == 0 {
		at, err = f.lastClosed()
	}
	if err == nil {
		err = file.Truncate(end)
	}
	if err == nil {
		_, err = file.Seek(end, io.SeekStart)
	}
	if err != nil {
		return Position{}, errors.Join(fmt.Errorf("read event log %s: %w", file.Name(), err), file.Close())
	}
	f.size = end
	return at, nil
}

// lastClosed finds where the chain stood when the newest closed file was closed.
func (f *File) lastClosed() (Position, error) {
	closed, err := f.closed()
	if err != nil || len(closed) == 0 {
		return Position{}, err
	}
	file, err := os.Open(closed[len(closed)-1])
	if err != nil {
		return Position{}, err
	}
	at, _, err := lastEntry(file)
	return at, errors.Join(err, file.Close())
}

// closed lists this stem's closed files, oldest first.
func (f *File) closed() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(f.cfg.Directory, f.stem+"-*.jsonl"))
	sort.Strings(names)
	return names, err
}

// lastEntry reads the last whole line of a file, and where it ends.
func lastEntry(file *os.File) (Position, int64, error) {
	info, err := file.Stat()
	if err != nil {
		return Position{}, 0, err
	}
	const window = 1 << 20
	from := max(0, info.Size()-window)
	tail := make([]byte, info.Size()-from)
	if _, err := file.ReadAt(tail, from); err != nil && err != io.EOF {
		return Position{}, 0, err
	}
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 {
		if from > 0 {
			return Position{}, 0, errors.New("its last megabyte holds no line end; move the file away and keep it for inspection")
		}
		return Position{}, 0, nil
	}
	line := tail[bytes.LastIndexByte(tail[:end], '\n')+1 : end]
	var e gate.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Position{}, 0, fmt.Errorf("its last line is no event (%w); move the file away and keep it for inspection", err)
	}
	return Position{Seq: e.Seq, Hash: hashOf(line)}, from + int64(end) + 1, nil
}

// Write appends whole lines. After a failed write the file is cut back to the last whole line first. A file that somebody
// has moved away or deleted is begun anew: what nobody can find is not written down.
func (f *File) Write(lines []byte) error {
	if info, err := os.Stat(f.path()); err != nil || !os.SameFile(info, f.info) {
		if err := f.reopen(); err != nil {
			return err
		}
	}
	if f.size > 0 && f.size+int64(len(lines)) > int64(f.cfg.FileSize) {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.failed {
		if err := f.file.Truncate(f.size); err != nil {
			return errors.Join(err, f.reopen())
		}
	}
	f.failed = true
	if _, err := f.file.WriteAt(lines, f.size); err != nil {
		return err
	}
	f.failed = false
	f.size += int64(len(lines))
	return nil
}

func (f *File) path() string { return filepath.Join(f.cfg.Directory, f.stem+".jsonl") }

// reopen goes on with the file that now stands at the path, or a new one.
func (f *File) reopen() error {
	if err := os.MkdirAll(f.cfg.Directory, 0o700); err != nil {
		return err
	}
	next, err := os.OpenFile(f.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := next.Stat()
	same := err == nil && os.SameFile(info, f.info)
	if same {
		_ = f.file.Close() // its lock with it
	}
	if err == nil {
		err = syscall.Flock(int(next.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	if !same {
		_ = f.file.Close()
		f.size = info.Size()
	}
	f.file, f.info, f.failed = next, info, true
	return nil
}

func (f *File) chain() (directory, stem string) { return f.cfg.Directory, f.stem }

// rotate closes the file under the number of its first entry and begins the next.
func (f *File) rotate() error {
	name := f.path()
	first, err := firstSeq(name)
	if err != nil {
		return err
	}
	closed := filepath.Join(f.cfg.Directory, fmt.Sprintf("%s-%012d.jsonl", f.stem, first))
	next, err := os.OpenFile(name+".next", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(next.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(err, next.Close())
	}
	info, err := next.Stat()
	if err != nil {
		return errors.Join(err, next.Close())
	}
	if err := os.Rename(name, closed); err != nil {
		return errors.Join(err, next.Close())
	}
	if err := os.Rename(name+".next", name); err != nil {
		return errors.Join(err, os.Rename(closed, name), next.Close())
	}
	old := f.file
	f.file, f.info, f.size, f.failed = next, info, 0, false
	return errors.Join(old.Close(), f.prune())
}

func (f *File) prune() error {
	closed, err := f.closed()
	if err != nil {
		return err
	}
	for ; len(closed) > f.cfg.Keep; closed = closed[1:] {
		if err := os.Remove(closed[0]); err != nil {
			return err
		}
	}
	return nil
}

func firstSeq(name string) (uint64, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var e gate.Event
	err = json.NewDecoder(file).Decode(&e)
	return e.Seq, err
}

func (f *File) bound(size unit.Size, keep int) { f.cfg.FileSize, f.cfg.Keep = size, keep }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Files lists the event files of a directory: for each writer the closed ones, oldest first, then the open one.
func Files(directory string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(directory, "events*.jsonl"))
	if err != nil {
		return nil, err
	}
	sort.Slice(names, func(i, j int) bool { return fileOrder(names[i]) < fileOrder(names[j]) })
	return names, nil
}

// fileOrder sorts "events-000000000001.jsonl" before "events.jsonl", stem by stem.
func fileOrder(name string) string {
	stem, seq, closed := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".jsonl"), "-")
	if !closed {
		seq = "~"
	}
	return stem + " " + seq
}
