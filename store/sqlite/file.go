package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// before asks the tests' file layer whether a step of ours fails.
func (d *DB) before(operation, path string) error {
	if h, ok := d.opt.Files.(Hook); ok {
		return h.Before(operation, path)
	}
	return nil
}

// create makes a new store: completely, under another name, then in one step under its own, which must be free.
func (d *DB) create(ctx context.Context) error {
	if _, err := os.Lstat(d.path); err == nil {
		return nil // another process was quicker
	}
	if _, err := os.Lstat(d.path + "-wal"); err == nil {
		return fmt.Errorf("open store %s: %w: the file is gone but its log %s-wal is there; put the file back or restore a backup, nothing is made in its place", d.path, ErrMissing, d.path)
	}
	key, _ := d.opt.Key()
	raw, err := checkKey(key)
	if err != nil {
		return fmt.Errorf("make store %s: %w", d.path, err)
	}
	d.cipher.hold(current, raw)
	d.sweep()
	fresh := d.path + ".new"
	if err := d.touch(fresh); err != nil {
		return unavailable(d.path, err)
	}
	if err := d.up(ctx, fresh); err != nil {
		d.sweep()
		return fmt.Errorf("make store %s: %w", d.path, err)
	}
	if err := d.publish(fresh, d.path); err != nil {
		d.sweep()
		return unavailable(d.path, err)
	}
	d.opt.Log.Info("store made", "path", d.path)
	return nil
}

// touch makes an empty file that is nobody else's.
func (d *DB) touch(name string) error {
	if err := d.before("create", name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// publish gives a complete file its name, which must be free.
func (d *DB) publish(from, to string) error {
	if err := d.syncFile(from); err != nil {
		return err
	}
	if err := d.before("link", to); err != nil {
		return err
	}
	if err := os.Link(from, to); err != nil {
		return err
	}
	if err := d.remove(from); err != nil {
		return err
	}
	return d.syncDirOf(to)
}

func (d *DB) remove(name string) error {
	if err := d.before("remove", name); err != nil {
		return err
	}
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes what a process left half made. Only who has the store alone may do it.
func (d *DB) sweep() {
	for _, half := range []string{".new", ".rekey"} {
		for _, part := range []string{"", "-journal", "-wal", "-shm"} {
			_ = d.remove(d.path + half + part)
		}
	}
}

func (d *DB) syncFile(name string) error {
	if err := d.before("sync", name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d *DB) syncDir() error {
	if err := d.syncDirOf(d.path); err != nil {
		return unavailable(d.path, err)
	}
	return nil
}

func (d *DB) syncDirOf(name string) error {
	dir := filepath.Dir(name)
	if err := d.before("sync", dir); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// unlock finds the key that opens the file, among those that are given, in their order. It only reads.
func (d *DB) unlock() error {
	if err := sound(d.path); err != nil && !(d.opt.plain && errors.Is(err, ErrKey)) {
		return err
	}
	key, previous := d.opt.Key()
	keys := append([]secret.Value{key}, previous...)
	for attempt := range 3 { // another process may be writing the first block at this moment
		for i, v := range keys {
			raw, err := checkKey(v)
			if err != nil {
				return fmt.Errorf("open store %s: key %d: %w", d.path, i+1, err)
			}
			if d.opt.plain || opens(d.path, raw) {
				d.cipher.hold(current, raw)
				if i > 0 {
					d.opt.Log.Warn("the store is still under an earlier key: a change of keys was cut off; end it with: gatehouse key rotate file", "path", d.path, "key", i+1)
				}
				return nil
			}
		}
		time.Sleep(time.Duration(5*(1+attempt)) * time.Millisecond)
	}
	return fmt.Errorf("open store %s: %w: none of the %d given opens it; give the key that it was made with, or restore a backup if the file was overwritten; it was not changed", d.path, ErrKey, len(keys))
}

// sound tells what is wrong with a file before any key is tried.
func sound(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return missing(path)
	case err != nil:
		return fmt.Errorf("open store: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("open store %s: it is no plain file", path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("open store %s: others may read or write it (mode %o); chmod 600 it", path, info.Mode().Perm())
	case info.Size() == 0:
		return fmt.Errorf("open store %s: %w: it is empty; restore a backup, or remove the file if it never held anything", path, ErrDamaged)
	}
	if head, err := beginning(path, len(magic)); err == nil && string(head) == magic {
		return fmt.Errorf("open store %s: %w: it is a database that is not encrypted", path, ErrKey)
	}
	return nil
}

// pace keeps work to a share of one processor: it waits after each piece for as long as the piece allows.
func (d *DB) pace(ctx context.Context, began time.Time) error {
	rest := time.Duration(float64(time.Since(began)) * (1/d.opt.Share - 1))
	if rest <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
