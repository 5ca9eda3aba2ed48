package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxFile bounds one file, in bytes.
const maxFile = 16 << 20

// Bounds of a mounted generation that is read at once; a ConfigMap holds 1 MiB at most.
const (
	maxMounted = 8 << 20
	maxEntries = 1000
)

// fileOrigin is a document that lies in a file.
type fileOrigin struct{ path string }

func (o fileOrigin) every() time.Duration { return 250 * time.Millisecond }

// open pins the links on the way to the document. A mounted generation (the document is a link through a link to a folder,
// as in a ConfigMap) is read at once, since whoever exchanges it also removes it.
func (o fileOrigin) open(context.Context) (generation, error) {
	for range 10 {
		g := &files{path: o.path, links: &links{targets: map[string]string{}}, stamps: marks{}, mounted: map[string][]byte{}}
		g.stamps[o.path] = stampOf(o.path)
		folder, ok := mount(o.path)
		if !ok {
			return g, nil
		}
		pinned, err := g.links.resolve(folder)
		if err == nil {
			err = g.readAll(pinned)
		}
		if again, gone := (&links{targets: map[string]string{}}).resolve(folder); err == nil && gone == nil && again == pinned {
			return g, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %s is exchanged faster than it can be read", ErrChanged, o.path)
}

// mount gives the folder, itself a link, that a document which is a link leads into.
func mount(path string) (string, bool) {
	target, err := os.Readlink(path)
	if err != nil || filepath.Dir(target) == "." {
		return "", false
	}
	folder := filepath.Dir(target)
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(filepath.Dir(path), folder)
	}
	info, err := os.Lstat(folder)
	return folder, err == nil && info.Mode()&os.ModeSymlink != 0
}

// files is a generation in files.
type files struct {
	path    string
	links   *links
	mounted map[string][]byte // what was read at once, by path without links

	mu     sync.Mutex
	stamps marks
}

// readAll reads the plain files below a folder. A folder that is too large for a mount is read file by file later.
func (g *files) readAll(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	size, entries := 0, 0
	errLarge := errors.New("too large")
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if entries++; err != nil || entries > maxEntries {
			return errors.Join(err, errLarge)
		}
		at := filepath.Join(folder, name)
		if d.Type()&fs.ModeSymlink == 0 {
			g.links.targets[at] = "" // known from now on, also when it is removed
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if size += int(info.Size()); size > maxMounted {
			return errLarge
		}
		g.mounted[at], err = readRoot(root, name)
		return err
	})
	if errors.Is(err, errLarge) && !errors.Is(err, fs.ErrNotExist) {
		clear(g.mounted)
		return nil
	}
	return err
}

func (g *files) file() string { return g.path }

func (g *files) id() string { return "" }

func (g *files) name(path string) (string, error) {
	folder, err := filepath.Abs(filepath.Dir(g.path))
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(folder, path)
	if err != nil || !localName(filepath.ToSlash(rel)) {
		return "", fmt.Errorf("%s is no name below the document's folder %s", path, folder)
	}
	return filepath.ToSlash(rel), nil
}

func (g *files) read(_ context.Context, contract, path string) ([]byte, error) {
	g.mu.Lock()
	if _, known := g.stamps[path]; !known {
		g.stamps[path] = stampOf(path) // before it is read
	}
	g.mu.Unlock()
	if path == g.path {
		if info, err := os.Stat(path); err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) != 0 {
			return readStream(path) // the operator's own pipe, such as <(make-document)
		}
	}
	real, err := g.links.resolve(path)
	if err != nil {
		return nil, named(path, err)
	}
	if path == contract {
		if data, ok := g.mounted[real]; ok {
			return data, nil
		}
		return readPlain(real)
	}
	folder, err := g.links.resolve(filepath.Dir(contract))
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(folder, real)
	if err != nil || !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("%s lies outside of %s, the folder of what refers to it", path, folder)
	}
	if data, ok := g.mounted[real]; ok {
		return data, nil
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return readRoot(root, rel)
}

// list also watches the folder, so that Wait returns when something comes to lie there.
func (g *files) list(_ context.Context, folder string) ([]string, error) {
	stamp := stampOf(folder) // before it is read
	real, err := g.links.resolve(folder)
	if err != nil {
		return nil, named(folder, err)
	}
	inside := map[string]bool{}
	for path := range g.mounted {
		if rest, ok := strings.CutPrefix(path, real+string(filepath.Separator)); ok {
			name, _, _ := strings.Cut(rest, string(filepath.Separator))
			inside[name] = true
		}
	}
	if len(inside) > 0 { // what was read at once is exchanged at once
		return slices.Collect(maps.Keys(inside)), nil
	}
	f, err := os.Open(real)
	if err != nil {
		return nil, named(folder, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(maxEntries + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(names) > maxEntries {
		return nil, fmt.Errorf("%s holds more than %d files", folder, maxEntries)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.stamps[folder]; !known {
		g.stamps[folder] = stamp
	}
	return names, err
}

// named tells of a file that is not there by the name that was given, not by where links lead.
func named(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &os.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
	}
	return err
}

func (g *files) seen() marks {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.stamps)
}

func (g *files) look(context.Context) (marks, error) {
	now := g.seen()
	for path := range now {
		now[path] = stampOf(path)
	}
	return now, nil
}

// settled refuses files that were exchanged one by one while they were read. What was read at once cannot be.
func (g *files) settled(context.Context) error {
	for path, stamp := range g.seen() {
		real, err := g.links.resolve(path)
		if _, ok := g.mounted[real]; ok && err == nil {
			continue
		}
		if stampOf(path) != stamp {
			return fmt.Errorf("%w: %s", ErrChanged, path)
		}
	}
	return nil
}

// readPlain reads a plain file. A pipe or a device could keep the reader for ever; opening one does not wait either.
func readPlain(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return readOpen(f, path)
}

func readRoot(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return readOpen(f, name)
}

func readOpen(f *os.File, name string) ([]byte, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", name)
	}
	return readBounded(f, name)
}

func readStream(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, path)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return data, err
}
