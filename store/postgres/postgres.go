// Package postgres keeps records in PostgreSQL, so that any number of nodes share them. It promises what store.Durable
// says: what was acknowledged is on the server's disk, and with synchronous replication on its replica's too; two writers
// never undo each other unseen; a follower misses nothing. Only what the operator configured counts: no variable of the
// environment and no file in a home directory chooses another server, user or password. Every wait is bounded, and no error
// repeats a password, a value, or a server's details, which quote both.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

// Options are what a store needs from outside.
type Options struct {
	// Config is the store section. Its URL names PostgreSQL.
	Config store.Config
	// Password is asked for each new connection, so that rotation needs no restart. Nil: Resolve of Config.Password.
	Password func() (secret.Value, error)
	// Resolve reads what Config refers to, for each new connection. Nil: secret.Ref.Resolve.
	Resolve func(secret.Ref) (secret.Value, error)
	// Now is this node's clock. It turns a record's Expires into a length of time and back, and decides nothing else.
	Now func() time.Time
	// Log takes what an operator should know. Nil: nothing is logged.
	Log *slog.Logger
	// Dial opens connections. Nil: a net.Dialer with keep-alive.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Sweep is the time between removals of expired records. Zero: a minute. Negative: never.
	Sweep time.Duration
}

func (o Options) withDefaults() Options {
	o.Config = o.Config.Defaults()
	if o.Resolve == nil {
		o.Resolve = secret.Ref.Resolve
	}
	if o.Password == nil && !o.Config.Password.IsZero() {
		o.Password = func() (secret.Value, error) { return o.Resolve(o.Config.Password) }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	}
	if o.Sweep == 0 {
		o.Sweep = time.Minute
	}
	return o
}

// DB is a store.Durable in PostgreSQL. Safe for use by many goroutines.
type DB struct {
	pool   *pgxpool.Pool
	now    func() time.Time
	log    *slog.Logger
	call   time.Duration // bounds one operation
	server server
	stop   context.CancelFunc
	swept  sync.WaitGroup
	closed sync.Once
}

var _ store.Durable = (*DB)(nil)

// Open connects, brings the schema to the version that this program knows, and begins to sweep. A mistake in
// Config is a mistake.List; a server that can't be reached is store.ErrUnavailable, and Open may be called again.
func Open(ctx context.Context, o Options) (*DB, error) {
	return open(ctx, o, embedded())
}

func open(ctx context.Context, o Options, m migrations) (*DB, error) {
	o = o.withDefaults()
	if err := o.Config.Check(o.Now()); err != nil {
		return nil, err
	}
	if o.Config.IsEmbedded() {
		return nil, errors.New("store: the URL is of the embedded store; write postgres://user@host/db")
	}
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	if err := m.up(ctx, s); err != nil {
		return nil, err
	}
	config := s.pool()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fault(ctx, err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	db := &DB{pool: pool, now: o.Now, log: o.Log, call: o.Config.Timeouts.Call, server: s, stop: stop}
	if err := db.settle(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	if o.Sweep > 0 {
		db.swept.Go(func() { db.sweepAll(background, o.Sweep) })
	}
	return db, nil
}

// settle makes sure that the numbers in record.written are of this cluster. After a dump was restored into another one they
// are not: a follower would then wait for numbers that come much later, or never.
func (db *DB) settle(ctx context.Context) error {
	return db.try(ctx, true, func(ctx context.Context, c *pgxpool.Conn) error {
		var same, durable bool
		err := c.QueryRow(ctx, `SELECT system = (SELECT system_identifier FROM pg_control_system()), current_setting('fsync') = 'on' FROM history`).Scan(&same, &durable)
		if err != nil {
			return err
		}
		if !durable {
			db.log.Warn("the PostgreSQL server runs with fsync=off: a loss of power there loses records, or all of them; set fsync=on", "part", "store")
		}
		if same {
			return nil
		}
		tx, err := c.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		if _, err = tx.Exec(ctx, `UPDATE record SET written = pg_current_xact_id()::text::bigint`); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `UPDATE history SET system = (SELECT system_identifier FROM pg_control_system())`); err != nil {
			return err
		}
		db.log.Info("the records were restored into another PostgreSQL server; followers read all of them again", "part", "store")
		return tx.Commit(ctx)
	})
}

// Ping changes a row and waits until that is durable, so that a full disk, a lost replica that commits wait for, and a
// server that takes no writes are all told.
func (db *DB) Ping(ctx context.Context) error {
	return db.try(ctx, true, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, `UPDATE history SET pinged = clock_timestamp()`)
		if err == nil && tag.RowsAffected() != 1 {
			err = errHistory
		}
		return err
	})
}

var errHistory = errors.New("the table history has lost its row; restore it from a backup")

// Close ends the sweep and all connections. What is still being asked fails. Closing twice is no error.
func (db *DB) Close() error {
	db.closed.Do(func() {
		db.stop()
		db.swept.Wait()
		closed := make(chan struct{})
		go func() { // a server that hangs does not keep this process
			db.pool.Close()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(db.call):
		}
	})
	return nil
}

// try runs do with a connection, in bounded time. What the server undid because of others' transactions is done again; so
// is, once, what a replica refused and what was lost with its connection and may be done twice.
func (db *DB) try(ctx context.Context, again bool, do func(context.Context, *pgxpool.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.call)
	defer cancel()
	lost := 0
	for attempt := 1; ; attempt++ {
		err := db.once(ctx, do)
		switch {
		case err == nil:
			return nil
		case undone(err) && attempt < 10:
			if wait(ctx, time.Duration(attempt)*5*time.Millisecond) != nil {
				return fault(ctx, err)
			}
		case lost == 0 && cut(err, again) && ctx.Err() == nil:
			lost++
			if readOnly(err) {
				db.pool.Reset() // the server is a replica by now: look for the one that takes writes
			}
		default:
			return fault(ctx, err)
		}
	}
}

func (db *DB) once(ctx context.Context, do func(context.Context, *pgxpool.Conn) error) error {
	c, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	defer c.Release()
	clearAlone(c.Conn().PgConn())
	if err = do(ctx, c); err == nil && alone(c.Conn().PgConn()) {
		return errAlone
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
