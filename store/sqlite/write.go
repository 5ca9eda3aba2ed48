package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/gatehouse-sec/gatehouse/store"
)

// What is written in one transaction, at most: requests, and bytes of their values.
const (
	batchSize  = 512
	batchBytes = 8 << 20
)

// What has expired is removed once in a while, some at a time, and an hour late: a clock that was wrong for a moment
// loses nothing.
const (
	purgeEvery = time.Minute
	purgeLate  = time.Hour
	purgeSize  = 200
)

// request is a caller's changes, all or none, on their way to the one goroutine that writes.
type request struct {
	ctx    context.Context
	writes []store.Write
	ping   bool
	answer chan error // one place: the writer never waits for a caller that left

	versions []int64 // the new versions, as the changes were found possible
	err      error
}

// Write changes one record.
func (d *DB) Write(ctx context.Context, w store.Write) (int64, error) {
	if err := store.CheckWrites(w); err != nil {
		return 0, err
	}
	r := &request{ctx: ctx, writes: []store.Write{w}}
	if err := d.submit(r); err != nil {
		return 0, err
	}
	return r.versions[0], nil
}

// WriteAll makes all changes or none.
func (d *DB) WriteAll(ctx context.Context, all ...store.Write) error {
	if err := store.CheckWrites(all...); err != nil || len(all) == 0 {
		return err
	}
	return d.submit(&request{ctx: ctx, writes: all})
}

// Ping writes to the disk what is there already.
func (d *DB) Ping(ctx context.Context) error {
	return d.submit(&request{ctx: ctx, ping: true})
}

// submit hands a request to the writer and waits for its answer. A caller that leaves early doesn't know whether it was
// done, as with every network.
func (d *DB) submit(r *request) error {
	if err := r.ctx.Err(); err != nil {
		return ended(err)
	}
	r.answer = make(chan error, 1)
	select {
	case <-d.done:
		return closed(d.path)
	default:
	}
	select {
	case d.queue <- r:
	case <-d.done:
		return closed(d.path)
	case <-r.ctx.Done():
		return ended(r.ctx.Err())
	}
	select {
	case err := <-r.answer:
		return err
	case <-r.ctx.Done():
		return ended(r.ctx.Err())
	case <-d.gone:
	}
	select { // closed: the writer has answered, or never will
	case err := <-r.answer:
		return err
	default:
		return closed(d.path)
	}
}

// write is the goroutine that writes. What arrives while one transaction is being made durable waits and goes together
// into the next: the more there is, the fewer fsyncs each costs.
func (d *DB) write() {
	defer close(d.gone)
	var purged time.Time
	for {
		var first *request
		select {
		case first = <-d.queue:
		case <-d.done:
			d.turnAway()
			return
		}
		batch := d.gather(first)
		c := <-d.writer
		c, err := d.dial(context.Background(), c)
		if err == nil {
			now := d.opt.Now()
			purge := now.Sub(purged).Abs() >= purgeEvery
			if err = c.transact(batch, now, purge); err == nil && purge {
				purged = now
			}
			if err != nil && !errors.Is(err, sqlite3.BUSY) {
				c.close() // after a fault of the disk nothing that the connection remembers counts
				c = nil
			}
		}
		d.writer <- c
		d.tell(batch, d.explain(err))
	}
}

// gather takes what else is waiting, up to the bounds of a transaction.
func (d *DB) gather(first *request) []*request {
	batch, size := []*request{first}, bytesOf(first)
	for len(batch) < batchSize && size < batchBytes {
		select {
		case r := <-d.queue:
			batch, size = append(batch, r), size+bytesOf(r)
		default:
			return batch
		}
	}
	return batch
}

func bytesOf(r *request) (size int) {
	for _, w := range r.writes {
		size += len(w.Value)
	}
	return size
}

func (d *DB) tell(batch []*request, err error) {
	for _, r := range batch {
		if r.err == nil {
			r.err = err
		}
		r.answer <- r.err
	}
}

func (d *DB) turnAway() {
	for {
		select {
		case r := <-d.queue:
			r.answer <- closed(d.path)
		default:
			return
		}
	}
}

// begin waits for its turn to write. For a file that another process holds SQLite waits by itself; of processes that open or close
// it at that moment it turns some away without waiting.
func (c *conn) begin() error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if err := c.raw.Exec("BEGIN IMMEDIATE"); !errors.Is(err, sqlite3.BUSY) || time.Since(began) > patience {
			return err
		}
	}
}

// transact makes a batch in one transaction. A request that conflicts is answered for itself and changes nothing; any other
// error takes all back.
func (c *conn) transact(batch []*request, now time.Time, purge bool) error {
	if err := c.begin(); err != nil {
		return err
	}
	err := c.apply(batch, now, purge)
	if err == nil {
		err = c.raw.Exec("COMMIT")
	}
	if err != nil {
		for _, s := range c.ready {
			_ = s.Reset()
		}
		if !c.raw.GetAutocommit() {
			_ = c.raw.Exec("ROLLBACK")
		}
	}
	return err
}

func (c *conn) apply(batch []*request, now time.Time, purge bool) error {
	_, seq, err := c.last()
	if err != nil {
		return err
	}
	remember := purge
	for _, r := range batch {
		if r.ctx.Err() != nil {
			r.err = ended(r.ctx.Err())
			continue
		}
		if err := c.change(r, now, &seq); err != nil {
			return err
		}
		remember = remember || r.ping || removes(r)
	}
	if purge {
		if err := c.run("DELETE FROM record WHERE seq IN (SELECT seq FROM record WHERE expires <= ?1 ORDER BY expires LIMIT ?2)", func(s *sqlite3.Stmt) error {
			return errors.Join(s.BindInt64(1, now.Add(-purgeLate).UnixMilli()), s.BindInt(2, purgeSize))
		}, nil); err != nil {
			return err
		}
	}
	if !remember {
		return nil // the newest row has the number itself
	}
	return c.run("UPDATE mark SET seq = ?1", func(s *sqlite3.Stmt) error { return s.BindInt64(1, seq) }, nil)
}

// last gives the life of the file and the last number given out: the newest row's, or one that was kept when rows were
// removed. Not to write it each time saves a page of every commit.
func (c *conn) last() (life string, seq int64, err error) {
	err = c.run("SELECT life, max(seq, coalesce((SELECT max(seq) FROM record), 0)) FROM mark", nil,
		func(s *sqlite3.Stmt) { life, seq = s.ColumnText(0), s.ColumnInt64(1) })
	return life, seq, err
}

func removes(r *request) bool {
	return slices.ContainsFunc(r.writes, func(w store.Write) bool { return w.Value == nil })
}

// change makes one request's changes: it looks at all versions first, so that a conflict leaves nothing to take back.
func (c *conn) change(r *request, now time.Time, seq *int64) error {
	r.versions = make([]int64, len(r.writes))
	for i, w := range r.writes {
		version, err := c.version(w.Key, now)
		if err != nil {
			return err
		}
		if w.Version != store.Any && w.Version != version {
			r.err = fmt.Errorf("%w: %q is at %d, not %d", store.ErrConflict, w.Key, version, w.Version)
			return nil
		}
		if w.Value != nil {
			r.versions[i] = version + 1
		}
	}
	for i, w := range r.writes {
		if w.Value == nil {
			if err := c.run("DELETE FROM record WHERE key = ?1", func(s *sqlite3.Stmt) error { return s.BindText(1, w.Key) }, nil); err != nil {
				return err
			}
			continue
		}
		*seq++
		if err := c.put(w, r.versions[i], *seq); err != nil {
			return err
		}
	}
	return nil
}

// version gives the version of a record, 0 when it isn't there or has expired.
func (c *conn) version(key string, now time.Time) (version int64, err error) {
	err = c.run("SELECT version FROM record WHERE key = ?1 AND (expires IS NULL OR expires > ?2)", func(s *sqlite3.Stmt) error {
		return errors.Join(s.BindText(1, key), s.BindInt64(2, now.UnixMilli()))
	}, func(s *sqlite3.Stmt) { version = s.ColumnInt64(0) })
	return version, err
}

func (c *conn) put(w store.Write, version, seq int64) error {
	return c.run(`INSERT INTO record (seq, key, value, version, expires) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, value = excluded.value, version = excluded.version, expires = excluded.expires`,
		func(s *sqlite3.Stmt) error {
			expires := s.BindNull(5)
			if !w.Expires.IsZero() {
				expires = s.BindInt64(5, w.Expires.UnixMilli())
			}
			return errors.Join(expires, s.BindInt64(1, seq), s.BindText(2, w.Key), s.BindBlob(3, w.Value), s.BindInt64(4, version))
		}, nil)
}
