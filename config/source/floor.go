package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// floorFormat names the form of a floor's file.
const floorFormat = "gatehouse.floor/1"

// FloorFile remembers the highest mark in a file of the state directory. A node needs it before it knows its store: an old
// document could name another one, which remembers nothing. Once the store is open, Source.Share adds what all nodes
// remember.
func FloorFile(path string) Floor { return &floorFile{path: path} }

type floorFile struct {
	path string
	mu   sync.Mutex
}

// floorRecord is how a mark is written.
type floorRecord struct {
	Format  string `json:"format"`
	Version int64  `json:"version"`
	Digest  string `json:"digest"`
}

func (f *floorFile) Highest(context.Context) (Mark, error) {
	data, err := readPlain(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Mark{}, nil
	}
	if err != nil {
		return Mark{}, err
	}
	var r floorRecord
	if err := json.Unmarshal(data, &r); err != nil || r.Format != floorFormat || r.Version < 1 || len(r.Digest) != 64 {
		return Mark{}, fmt.Errorf("%s, which remembers the highest version of the document, cannot be read; write into it what another node has, or remove it if no old document can have been put in place", f.path)
	}
	return Mark{r.Version, r.Digest}, nil
}

func (f *floorFile) Raise(ctx context.Context, m Mark) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	highest, err := f.Highest(ctx)
	if err != nil {
		return err
	}
	if err := m.above(highest); err != nil || m == highest {
		return err
	}
	data, err := json.Marshal(floorRecord{floorFormat, m.Version, m.Digest})
	if err != nil {
		return err
	}
	return replaceFile(f.path, append(data, '\n'))
}

// above refuses a mark that is older than another, or the same version with other content.
func (m Mark) above(highest Mark) error {
	switch {
	case m.Version < highest.Version:
		return fmt.Errorf("%w: version %d, this is %d; sign it anew with version %d", ErrReplayed, highest.Version, m.Version, highest.Version+1)
	case m.Version == highest.Version && m.Digest != highest.Digest:
		return fmt.Errorf("%w: version %d with other content; sign it anew with version %d", ErrReplayed, m.Version, m.Version+1)
	}
	return nil
}

// replaceFile puts data at path, complete or not at all, also when the power goes.
func replaceFile(path string, data []byte) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// floors is a node's own memory and, once it is known, that of all nodes: the higher counts.
type floors struct {
	mu  sync.Mutex
	all []Floor
}

// Share adds a floor that all nodes share, such as a record of the store. From now on nothing is accepted that is older
// than either remembers: what was read before is judged by Accept.
func (s *Source) Share(f Floor) {
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	s.floors.all = append([]Floor{f}, s.floors.all...)
}

func (f *floors) list() []Floor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

// check refuses a mark that any of them has risen above.
func (f *floors) check(ctx context.Context, m Mark) error {
	for _, one := range f.list() {
		highest, err := one.Highest(ctx)
		if err != nil {
			return fmt.Errorf("look up the highest version accepted: %w", err)
		}
		if err := m.above(highest); err != nil {
			return err
		}
	}
	return nil
}

// raise raises the shared one first: it alone decides between nodes.
func (f *floors) raise(ctx context.Context, m Mark) error {
	if err := f.check(ctx, m); err != nil {
		return err
	}
	for _, one := range f.list() {
		if err := one.Raise(ctx, m); err != nil {
			return fmt.Errorf("remember version %d: %w", m.Version, err)
		}
	}
	return nil
}
