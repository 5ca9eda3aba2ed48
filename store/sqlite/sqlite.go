// Package sqlite keeps records in one encrypted SQLite file: what a single machine remembers over restarts, without a
// server. The whole file, its write-ahead log and its temporary files are encrypted with Adiantum under a key that is
// handed in; who steals the disk or a backup of it reads nothing. A write that returned is on the disk (synchronous FULL);
// writes that come together share one fsync. Several processes of one machine may open the same file.
//
// The file cipher hides, it does not prove: a flipped bit becomes noise that the integrity check may or may not see. What
// must not be tampered with is sealed by store.Sealed above this package. Nothing is ever made over a file that exists.
package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/ncruces/go-sqlite3"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

// Keys gives the key of the file, 32 bytes, and those before it: after a change of key that was cut short the file may
// still be under an older one. It is asked at Open, and again when another process has changed the key.
type Keys func() (current secret.Value, previous []secret.Value)

// Options say which file, under which key, and by what clock.
type Options struct {
	Path      string // of the file; its directory is made with mode 0700 when it isn't there
	Key       Keys
	Now       func() time.Time // for what expires
	MustExist bool             // a missing file is an error, not a new store
	// Patience is how long to wait for another process that has the file for itself. Zero means 10 s.
	Patience time.Duration
	// Share is the part of one processor that a snapshot or a change of key takes, above 0 to 1. Zero means 0.35.
	Share float64
	// Files replaces the operating system's files in tests. A Files that is also a Hook is asked before each step that
	// this package makes by itself.
	Files vfs.VFS
	Log   *slog.Logger // nil: nothing is logged

	migrations fs.FS // in tests: another history
	plain      bool  // in benchmarks: no cipher
}

// Hook is asked before a file is made, linked, renamed, removed or synchronised outside of SQLite; its error is taken as
// the outcome.
type Hook interface {
	Before(operation, path string) error
}

// What Open and the operations answer beside store.ErrUnavailable; compare with errors.Is.
var (
	ErrMissing = errors.New("the store is missing")
	ErrKey     = errors.New("the store does not open with this key")
	ErrNewer   = errors.New("the store is newer than this program")
	ErrDamaged = errors.New("the store is damaged")
)

const readers = 4

// DB is an open store. It implements store.Durable.
type DB struct {
	opt    Options
	path   string
	cipher *cipher
	locks  *locks
	alone  chan struct{} // whoever has it may take all connections
	writer chan *conn    // one place
	reader chan *conn    // some places
	queue  chan *request
	fault  atomic.Pointer[error] // why the file couldn't be opened again
	seen   atomic.Pointer[seen]  // what was read last, for whoever asks whether there is more
	life
}

// life is how a DB ends: Close closes done, the writer gone.
type life struct {
	done, gone chan struct{}
	running    sync.WaitGroup
	once       sync.Once
}

var _ store.Durable = (*DB)(nil)

// Open opens the store, or makes a new one where there is no file. A file that is there is never replaced: an empty file,
// a file under another key, a damaged one and one of a newer program are each refused with their remedy.
func Open(ctx context.Context, o Options) (*DB, error) {
	began := time.Now()
	for {
		d, err := openOnce(ctx, o)
		if !errors.Is(err, sqlite3.BUSY) || time.Since(began) > cmp.Or(o.Patience, patience) {
			return d, err
		}
		// Of processes that open it at the same moment SQLite turns some away without waiting, such as while the log begins.
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func openOnce(ctx context.Context, o Options) (*DB, error) {
	d, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		d.locks.close()
		d.drop()
		d.cipher.forget()
		return nil, err
	}
	d.running.Go(d.write)
	d.running.Go(d.watch)
	return d, nil
}

// patience is how long to wait for another process that has the file for itself.
const patience = 10 * time.Second

func prepare(o Options) (*DB, error) {
	switch {
	case o.Path == "":
		return nil, errors.New("open store: no path is given")
	case o.Now == nil || o.Key == nil:
		return nil, errors.New("open store: a clock and a key are needed")
	case o.Share < 0 || o.Share > 1:
		return nil, fmt.Errorf("open store: share %v of a processor; write 0.05 to 1", o.Share)
	}
	if o.Patience == 0 {
		o.Patience = patience
	}
	if o.Share == 0 {
		o.Share = 0.35
	}
	if o.Files == nil {
		o.Files = vfs.Find("")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.migrations == nil {
		o.migrations, _ = fs.Sub(embedded, "migrations") // fails for a malformed name only
	}
	path, err := place(o)
	if err != nil {
		return nil, err
	}
	d := &DB{opt: o, path: path, locks: &locks{path: path, patience: o.Patience}, alone: make(chan struct{}, 1),
		writer: make(chan *conn, 1), reader: make(chan *conn, readers), queue: make(chan *request, batchSize), life: life{done: make(chan struct{}), gone: make(chan struct{})}}
	d.alone <- struct{}{}
	d.fill()
	d.cipher = newCipher(o.Files, o.plain)
	return d, nil
}

// place finds the file's true path and makes its directory.
func place(o Options) (string, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return "", fmt.Errorf("open store: %w", err)
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if o.MustExist {
			return "", missing(path)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("open store: %w: make its directory or choose another place", err)
		}
	}
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("open store: %w", err)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", fmt.Errorf("open store: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("open store: %s is no directory", dir)
	case info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
		return "", fmt.Errorf("open store: others may write to directory %s; chmod 700 it", dir)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

func missing(path string) error {
	return fmt.Errorf("open store %s: %w: restore it from a backup, or correct the path; a new one is not made in its place", path, ErrMissing)
}

// open takes the locks, makes the file where there is none, and opens it for the first time.
func (d *DB) open(ctx context.Context) error {
	if _, err := os.Lstat(d.path); errors.Is(err, fs.ErrNotExist) && d.opt.MustExist {
		return missing(d.path)
	}
	if err := d.locks.open(); err != nil {
		return fmt.Errorf("open store %s: %w", d.path, err)
	}
	alone := d.locks.tryExclusive()
	if alone { // nobody else has it open: what was left half made is of no use
		d.sweep()
	}
	if err := d.ensure(ctx, alone); err != nil {
		return err
	}
	if err := d.locks.shared(ctx); err != nil {
		return err
	}
	if err := d.unlock(); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	return d.first(ctx)
}

// ensure makes the file when it isn't there, and waits while another process makes it.
func (d *DB) ensure(ctx context.Context, alone bool) error {
	there := func() bool {
		_, err := os.Lstat(d.path)
		return !errors.Is(err, fs.ErrNotExist)
	}
	if there() {
		return nil
	}
	if !alone {
		err := d.locks.poll(ctx, func() bool {
			alone = d.locks.tryExclusive()
			return alone || there()
		})
		if err != nil || there() {
			return err
		}
	}
	return d.create(ctx)
}

// first makes the connection that writes, so that every fault of the file shows at Open, and makes the log's name durable.
func (d *DB) first(ctx context.Context) error {
	c := <-d.writer
	c, err := d.dial(ctx, c)
	d.writer <- c
	if err != nil {
		return err
	}
	return d.syncDir()
}

// Close ends all operations and closes the file. What was acknowledged is on the disk already.
func (d *DB) Close() error {
	d.once.Do(func() {
		close(d.done)
		<-d.alone // whoever has the file for itself finishes
		d.running.Wait()
		d.drop()
		d.locks.close()
		d.cipher.forget()
	})
	return nil
}

// drop closes the connections that nobody holds and takes back those that are held, when they come.
func (d *DB) drop() {
	(<-d.writer).close()
	for range readers {
		(<-d.reader).close()
	}
}

// fill gives the places of connections back, empty: each is opened when it is needed.
func (d *DB) fill() {
	d.writer <- nil
	for range readers {
		d.reader <- nil
	}
}

// Stat is what there is to tell about the file.
type Stat struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`   // bytes on the disk, the write-ahead log among them
	Schema int64  `json:"schema"` // the version of its tables
}

// Stat tells the file's path, size and version.
func (d *DB) Stat(ctx context.Context) (Stat, error) {
	s := Stat{Path: d.path}
	err := d.read(ctx, func(c *conn) (err error) {
		s.Schema, err = c.schema()
		return err
	})
	for _, name := range []string{d.path, d.path + "-wal"} {
		if info, err := os.Stat(name); err == nil {
			s.Size += info.Size()
		}
	}
	return s, err
}

// Check reads the whole file and tells whether its structure is whole: every page, every index.
func (d *DB) Check(ctx context.Context) error {
	ctx, stop := d.yielding(ctx)
	defer stop()
	return d.read(ctx, func(c *conn) error { return c.check() })
}
