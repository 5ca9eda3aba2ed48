package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// Progress is told how far a long operation has come: done of total, in bytes, and what is being done.
type Progress func(done, total int64, what string)

// inPrivate runs do while nobody in any process has the file open. Reads and writes wait meanwhile; the connections are made
// anew afterwards, by the keys that are then given.
func (d *DB) inPrivate(ctx context.Context, do func() error) error {
	select {
	case <-d.alone:
	case <-d.done:
		return closed(d.path)
	case <-ctx.Done():
		return ended(ctx.Err())
	}
	defer func() { d.alone <- struct{}{} }()
	turn, err := d.locks.take(ctx)
	if err != nil {
		return err
	}
	defer turn.Close()
	d.drop()
	defer d.fill()
	if err := d.locks.exclusive(ctx); err != nil {
		return errors.Join(err, d.again())
	}
	return errors.Join(do(), d.again())
}

// again takes the common lock and finds the key. If that fails, operations fail with its error until it succeeds.
func (d *DB) again() error {
	err := d.locks.shared(context.Background())
	if err == nil {
		err = d.unlock()
	}
	if err != nil {
		err = unavailable(d.path, err)
		d.fault.Store(&err)
		return err
	}
	d.fault.Store(nil)
	return nil
}

// watchEvery is how soon another process gets the file for itself.
const watchEvery = 200 * time.Millisecond

// watch lets go of the file when another process wants it for itself, and comes back afterwards.
func (d *DB) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.done:
			return
		case <-tick.C:
		}
		if d.fault.Load() == nil && !d.locks.wanted() {
			continue
		}
		select {
		case <-d.done:
			return
		case <-d.alone:
		}
		d.yield(tick)
		d.alone <- struct{}{}
	}
}

// errYield is why a long operation ended before it was done.
var errYield = errors.New("the store's key is being changed; try again")

// yielding gives the context of a long operation, which ends when somebody wants the store for himself: writers must not
// wait for a copy of a large store to be finished.
func (d *DB) yielding(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if d.locks.wanted() {
					cancel(errYield)
				}
			}
		}
	})
	return ctx, func() { cancel(nil); asking.Wait() }
}

// yield closes all connections until the other has finished.
func (d *DB) yield(tick *time.Ticker) {
	before := d.fault.Load()
	if before == nil && !d.locks.wanted() {
		return
	}
	d.drop()
	d.locks.free()
	for d.locks.wanted() {
		select {
		case <-d.done:
			d.fill()
			return
		case <-tick.C:
		}
	}
	if err := d.again(); err != nil && before == nil {
		d.opt.Log.Error("the store cannot be opened again", "error", err.Error())
	}
	d.fill()
}

// Rekey puts the file under a new key of 32 bytes: it is written anew beside the old one and takes its name in one step. The
// caller has made the new key durable before, and gives it and the old one at every Open until Rekey has returned: a crash
// leaves the file whole, under the one or the other. Every process waits meanwhile. Blocks of the old file that
// the disk has not reused are still under the old key; destroying that key is what makes them unreadable.
func (d *DB) Rekey(ctx context.Context, key secret.Value) error {
	raw, err := checkKey(key)
	if err != nil {
		return fmt.Errorf("change the store's key: %w", err)
	}
	return d.inPrivate(ctx, func() error {
		d.cipher.hold(changed, raw)
		defer d.cipher.release(changed)
		if err := d.rewrite(ctx); err != nil {
			d.sweep()
			return fmt.Errorf("change the store's key: it stays under the old one: %w", d.explain(err))
		}
		if err := d.replace(); err != nil {
			return fmt.Errorf("change the store's key: give both keys and try again: %w", unavailable(d.path, err))
		}
		d.opt.Log.Info("store has a new key", "path", d.path)
		return nil
	})
}

// rewrite makes a copy under the new key, complete and durable.
func (d *DB) rewrite(ctx context.Context) error {
	d.sweep()
	c, err := d.cipher.dialLog(d.path, current, settings)
	if err != nil {
		return err
	}
	defer c.close()
	// Only the last connection may leave the log behind it; from here the one file is everything.
	mode, err := c.text("PRAGMA journal_mode = DELETE")
	if err == nil && mode != "delete" {
		err = fmt.Errorf("the log could not be closed, its mode is %q", mode)
	}
	if err != nil {
		return err
	}
	to := d.path + ".rekey"
	if err := d.touch(to); err != nil {
		return err
	}
	if err := c.copyTo(ctx, d.cipher.uri(to, changed), nil); err != nil {
		return err
	}
	if err := d.inspect(to, changed); err != nil {
		return err
	}
	return d.syncFile(to)
}

// inspect opens a copy and looks at every page.
func (d *DB) inspect(path, key string) error {
	c, err := d.cipher.dial(path, key, "PRAGMA trusted_schema = OFF")
	if err != nil {
		return err
	}
	defer c.close()
	return c.check()
}

func (d *DB) replace() error {
	if err := d.before("rename", d.path); err != nil {
		return err
	}
	if err := os.Rename(d.path+".rekey", d.path); err != nil {
		return err
	}
	return d.syncDirOf(d.path)
}

// copyTo copies every page to another file, step by step. pause is called after each.
func (c *conn) copyTo(ctx context.Context, uri string, pause func(began time.Time, done, total int64) error) error {
	b, err := c.raw.BackupInit("main", uri)
	if err != nil {
		return err
	}
	for {
		began := time.Now()
		finished, err := b.Step(256)
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && pause != nil {
			total := int64(b.PageCount()) * blockSize
			err = pause(began, total-int64(b.Remaining())*blockSize, total)
		}
		if err != nil {
			_ = b.Close()
			return err
		}
		if finished {
			return b.Close()
		}
	}
}
