package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// Sinks is everything that the section audit names: the files in its directory first, then the places that get the same
// lines as well. Lines count as written when all have taken them; one that has is not offered the same lines again.
type Sinks struct {
	cfg    Config
	file   *File
	stdout io.Writer
	all    []*member
}

// member is one sink, and whether it has taken the lines that are being written.
type member struct {
	Sink
	place Place // zero for the files
	wrote bool
}

// Open opens everything that the section names, and tells where the chain in its directory stands. Directory must be set.
func Open(cfg Config, stdout io.Writer) (*Sinks, Position, error) {
	file, at, err := OpenFile(cfg)
	if err != nil {
		return nil, Position{}, err
	}
	s := &Sinks{cfg: cfg, file: file, stdout: stdout, all: []*member{{Sink: file}}}
	if err := s.open(cfg.Also); err != nil {
		return nil, Position{}, errors.Join(err, s.Close())
	}
	return s, at, nil
}

func (s *Sinks) open(places []Place) error {
	for _, p := range places {
		sink, err := p.open(s.cfg.withDefaults(), s.stdout)
		if err != nil {
			return err
		}
		s.all = append(s.all, &member{Sink: sink, place: p})
	}
	return nil
}

// Change prepares the way from these sinks to those of another section: what can go wrong goes wrong here. The function
// that it returns is for Log.Change. Sinks that stay named stay open; a directory that changes begins, or goes on with, a
// chain of its own.
func (s *Sinks) Change(cfg Config) (next *Sinks, apply Change, err error) {
	next = &Sinks{cfg: cfg, file: s.file, stdout: s.stdout}
	keep := func(old *member) bool { return old.place == Place{} || slices.Contains(cfg.Also, old.place) }
	var begin *Position
	if cfg.Directory != s.cfg.Directory {
		file, at, err := OpenFile(cfg)
		if err != nil {
			return nil, nil, err
		}
		next.file, begin = file, &at
		keep = func(old *member) bool { return slices.Contains(cfg.Also, old.place) }
		next.all = []*member{{Sink: file}}
	}
	var fresh []Place
	for _, p := range cfg.Also {
		if !slices.ContainsFunc(s.all, func(m *member) bool { return m.place == p }) {
			fresh = append(fresh, p)
		}
	}
	if err := next.open(fresh); err != nil {
		return nil, nil, errors.Join(err, next.Close())
	}
	return next, func(_ Sink, at Position) (Sink, Position) {
		for _, old := range s.all {
			if keep(old) {
				next.all = append(next.all, old)
			} else {
				_ = old.Close() // what it has not taken goes to the others
			}
		}
		limits := cfg.withDefaults()
		for _, m := range next.all {
			if b, ok := m.Sink.(bounded); ok {
				b.bound(limits.FileSize, limits.Keep)
			}
		}
		if begin != nil {
			at = *begin
		}
		return next, at
	}, nil
}

// bounded is a sink whose bounds can change.
type bounded interface {
	bound(size unit.Size, keep int)
}

// Write offers lines to all that have not taken them.
func (s *Sinks) Write(lines []byte) error {
	var all error
	for _, m := range s.all {
		if m.wrote {
			continue
		}
		if err := m.Sink.Write(lines); err != nil {
			all = errors.Join(all, err)
			continue
		}
		m.wrote = true
	}
	if all != nil {
		return all
	}
	for _, m := range s.all {
		m.wrote = false
	}
	return nil
}

func (s *Sinks) chain() (directory, stem string) { return s.file.chain() }

// Close closes all.
func (s *Sinks) Close() error {
	var all error
	for _, m := range s.all {
		all = errors.Join(all, m.Close())
	}
	return all
}

func (p Place) open(cfg Config, stdout io.Writer) (Sink, error) {
	if p.stdout {
		if stdout == nil {
			return nil, errors.New("open event log: there is no standard output")
		}
		return stream{stdout}, nil
	}
	f := &plain{path: p.file, size: cfg.FileSize, keep: cfg.Keep}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	return f, nil
}

// stream is somebody else's to close.
type stream struct{ io.Writer }

func (s stream) Write(lines []byte) error { _, err := s.Writer.Write(lines); return err }
func (s stream) Close() error             { return nil }

// plain is one file that others read: it is appended to, and when it is full it becomes path.1, that path.2, and so on. A
// device or a pipe is never rotated.
type plain struct {
	path string
	size unit.Size
	keep int

	file    *os.File
	info    os.FileInfo
	written int64
	failed  bool
}

func (f *plain) bound(size unit.Size, keep int) { f.size, f.keep = size, keep }

func (f *plain) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.info, f.written = file, info, info.Size()
	return nil
}

// Write appends lines. After a failed write the file is opened anew and cut back to its last whole line.
func (f *plain) Write(lines []byte) error {
	if info, err := os.Stat(f.path); err != nil || !os.SameFile(info, f.info) || f.failed {
		whole, same := f.written, err == nil && os.SameFile(info, f.info)
		if err := f.open(); err != nil {
			return err
		}
		if f.failed && same && f.info.Mode().IsRegular() {
			if err := f.file.Truncate(whole); err != nil {
				return err
			}
			f.written = whole
		}
		f.failed = false
	}
	if f.info.Mode().IsRegular() && f.written > 0 && f.written+int64(len(lines)) > int64(f.size) {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if _, err := f.file.Write(lines); err != nil {
		f.failed = true
		return err
	}
	f.written += int64(len(lines))
	return nil
}

func (f *plain) rotate() error {
	for n := f.keep; n > 0; n-- {
		from := f.path
		if n > 1 {
			from = fmt.Sprintf("%s.%d", f.path, n-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", f.path, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return f.open()
}

func (f *plain) Close() error { return f.file.Close() }
