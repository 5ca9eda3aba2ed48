package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Each statement gives the new version of the record, or no row when the version named was another. Whether a record has
// expired is asked of the server's clock, never of a node's: two nodes whose clocks are an hour apart agree, and a lease
// is not taken from a node because another's clock is ahead. What travels is therefore the length of time that is left.
const (
	live = `(r.ends IS NULL OR r.ends > clock_timestamp())`

	insert = `INSERT INTO record AS r (key, value, version, expires, ends, written)
		VALUES ($1, $2, 1, $3, clock_timestamp() + $4::bigint * interval '1 microsecond', pg_current_xact_id()::text::bigint)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires, ends = excluded.ends, written = excluded.written, `

	putNew = insert + `version = 1 WHERE r.ends <= clock_timestamp() RETURNING r.version`

	putAny = insert + `version = CASE WHEN r.ends <= clock_timestamp() THEN 1 ELSE r.version + 1 END RETURNING r.version`

	putOver = `UPDATE record r SET value = $2, version = r.version + 1, expires = $3,
		ends = clock_timestamp() + $4::bigint * interval '1 microsecond', written = pg_current_xact_id()::text::bigint
		WHERE r.key = $1 AND r.version = $5 AND ` + live + ` RETURNING r.version`

	removeAny = `WITH gone AS (DELETE FROM record WHERE key = $1) SELECT 0::bigint`

	removeOver = `DELETE FROM record r WHERE r.key = $1 AND r.version = $2 AND ` + live + ` RETURNING 0::bigint`

	removeNone = `SELECT 0::bigint WHERE NOT EXISTS (SELECT FROM record r WHERE r.key = $1 AND ` + live + `)`

	columns = `r.key, r.value, r.version, r.expires, extract(epoch FROM r.ends - clock_timestamp())::float8`

	getOne = `SELECT ` + columns + ` FROM record r WHERE r.key = $1 AND ` + live
)

// statement is the SQL for one change and its arguments.
func (db *DB) statement(w store.Write) (string, []any) {
	if w.Value == nil {
		switch w.Version {
		case store.Any:
			return removeAny, []any{w.Key}
		case 0:
			return removeNone, []any{w.Key}
		}
		return removeOver, []any{w.Key, w.Version}
	}
	var expires *time.Time
	var left *int64
	if !w.Expires.IsZero() {
		d := w.Expires.Sub(db.now()).Microseconds()
		expires, left = &w.Expires, &d
	}
	args := []any{w.Key, w.Value, expires, left}
	switch w.Version {
	case store.Any:
		return putAny, args
	case 0:
		return putNew, args
	}
	return putOver, append(args, w.Version)
}

// Get gives a record that is there, or store.ErrNone.
func (db *DB) Get(ctx context.Context, key string) (store.Record, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	var record store.Record
	err := db.try(ctx, true, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, getOne, key)
		if err != nil {
			return err
		}
		list, err := db.records(rows, 1)
		if err == nil && len(list) == 0 {
			return store.ErrNone
		}
		if err == nil {
			record = list[0]
		}
		return err
	})
	return record, err
}

// Write changes one record and gives its new version, 0 when it was removed.
func (db *DB) Write(ctx context.Context, w store.Write) (int64, error) {
	if err := check(w); err != nil {
		return 0, err
	}
	var version int64
	err := db.try(ctx, false, func(ctx context.Context, c *pgxpool.Conn) error {
		sql, args := db.statement(w)
		err := c.QueryRow(ctx, sql, args...).Scan(&version)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrConflict
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// WriteAll makes all changes or none. The changes are made in the order of their keys, so that two never wait for each other.
func (db *DB) WriteAll(ctx context.Context, all ...store.Write) error {
	if err := check(all...); err != nil {
		return err
	}
	if len(all) == 0 {
		return nil
	}
	sorted := slices.SortedFunc(slices.Values(all), func(a, b store.Write) int { return strings.Compare(a.Key, b.Key) })
	return db.try(ctx, false, func(ctx context.Context, c *pgxpool.Conn) error {
		var batch pgx.Batch
		batch.Queue("begin")
		for _, w := range sorted {
			sql, args := db.statement(w)
			batch.Queue(sql, args...)
		}
		if err := changes(c.SendBatch(ctx, &batch), len(sorted)); err != nil {
			_, _ = c.Exec(ctx, "rollback") // if that fails the pool drops the connection, and the server the transaction
			return err
		}
		tag, err := c.Exec(ctx, "commit")
		if err == nil && tag.String() != "COMMIT" {
			return errors.New("not committed")
		}
		return err
	})
}

// changes reads what came of a batch: a begin and then n changes.
func changes(results pgx.BatchResults, n int) error {
	_, err := results.Exec()
	for i := 0; i < n && err == nil; i++ {
		var version int64
		err = results.QueryRow().Scan(&version)
	}
	closing := results.Close()
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return store.ErrConflict
	case err != nil:
		return err
	}
	return closing
}

func check(all ...store.Write) error {
	for _, w := range all {
		if !w.Expires.IsZero() && (w.Expires.Year() < 1 || w.Expires.Year() > 9999) {
			return fmt.Errorf("%w: %q expires in the year %d", store.ErrInvalid, w.Key, w.Expires.Year())
		}
	}
	return store.CheckWrites(all...)
}

// records reads rows of columns.
func (db *DB) records(rows pgx.Rows, room int) ([]store.Record, error) {
	defer rows.Close()
	list := make([]store.Record, 0, room)
	for rows.Next() {
		var r store.Record
		var expires *time.Time
		var left *float64
		if err := rows.Scan(&r.Key, &r.Value, &r.Version, &expires, &left); err != nil {
			return nil, err
		}
		r.Expires = db.expires(expires, left)
		list = append(list, r)
	}
	return list, rows.Err()
}

// agree is how far two nodes' clocks may be apart before one is not shown the other's Expires any longer.
const agree = 5 * time.Second

// expires gives the end of a record as it was written. When this node's clock and the writer's are apart, that would be an
// end which the record doesn't have by this node's clock: then it is what the server says is left, from now on.
func (db *DB) expires(written *time.Time, left *float64) time.Time {
	if written == nil || left == nil {
		return time.Time{}
	}
	end := db.now().Add(time.Duration(min(*left, 9e9) * float64(time.Second)))
	if apart := end.Sub(*written); apart > agree || apart < -agree {
		return end.Truncate(store.Millisecond).UTC()
	}
	return written.UTC()
}
