package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-sec/gatehouse/store"
)

const listSome = `SELECT ` + columns + ` FROM record r
	WHERE r.key >= $1 AND r.key < $2 AND r.key > $3 AND ` + live + ` ORDER BY r.key LIMIT $4`

// sinceMark reads what transactions wrote whose numbers are not below the mark, and gives the next mark, all by one snapshot.
//
// A transaction gets its number when it first writes and is seen when it ends, so numbers are not seen in their order. All
// numbers below the snapshot's xmin have ended and are seen: a mark never goes beyond it. Nor does it go beyond the highest
// number seen on a record, plus one: a crash may give out again numbers that only transactions without a trace had, but
// never one that a commit has made durable. A promoted replica counts on from the last commit that it has; what it lacks
// without synchronous replication is told by the timeline, a dump restored elsewhere by the system, and a mark of another
// history means all. (IS TRUE keeps the server from reading all keys of a prefix before it has statistics.)
const sinceMark = `WITH at AS (
		SELECT (SELECT system FROM history) AS system, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint AS timeline,
			least(pg_snapshot_xmin(pg_current_snapshot())::text::bigint, (SELECT coalesce(max(written), 0) + 1 FROM record)) AS next)
	SELECT at.system, at.timeline, at.next, r.key, r.value, r.version, r.expires, extract(epoch FROM r.ends - clock_timestamp())::float8
	FROM at LEFT JOIN record r ON r.written >= CASE WHEN at.system = $3 AND at.timeline = $4 THEN $5::bigint ELSE 0 END
		AND (r.key >= $1 AND r.key < $2) IS TRUE AND ` + live

// List gives records whose keys begin with prefix and are greater than after, in the order of their bytes.
func (db *DB) List(ctx context.Context, prefix, after string, limit int) ([]store.Record, error) {
	if err := store.CheckList(prefix, after, limit); err != nil {
		return nil, err
	}
	var list []store.Record
	err := db.try(ctx, true, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, listSome, prefix, end(prefix), after, limit)
		if err == nil {
			list, err = db.records(rows, min(limit, 1000))
		}
		return err
	})
	return list, err
}

// Since gives the records under prefix that were written after mark, and the mark for the next call.
func (db *DB) Since(ctx context.Context, prefix, mark string) ([]store.Record, string, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, "", err
	}
	from, err := parsePosition(mark)
	if err != nil {
		return nil, "", err
	}
	var list []store.Record
	var next position
	err = db.try(ctx, true, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sinceMark, prefix, end(prefix), from.system, from.timeline, from.number)
		if err != nil {
			return err
		}
		defer rows.Close()
		list = nil
		for rows.Next() {
			var key *string
			var version *int64
			var expires *time.Time
			var left *float64
			var r store.Record
			if err := rows.Scan(&next.system, &next.timeline, &next.number, &key, &r.Value, &version, &expires, &left); err != nil {
				return err
			}
			if key == nil {
				continue
			}
			r.Key, r.Version, r.Expires = *key, *version, db.expires(expires, left)
			list = append(list, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, "", err
	}
	return list, next.String(), nil
}

// position is a mark taken apart: in the history of which cluster, and from which transaction on nothing is known.
type position struct{ system, timeline, number int64 }

func (p position) String() string {
	return strconv.FormatUint(uint64(p.system), 16) + "." + strconv.FormatInt(p.timeline, 16) + "." + strconv.FormatInt(p.number, 10)
}

func parsePosition(mark string) (position, error) {
	if mark == "" {
		return position{}, nil
	}
	words := strings.Split(mark, ".")
	if len(words) == 3 {
		system, err1 := strconv.ParseUint(words[0], 16, 64)
		timeline, err2 := strconv.ParseInt(words[1], 16, 64)
		number, err3 := strconv.ParseInt(words[2], 10, 64)
		if p := (position{int64(system), timeline, number}); err1 == nil && err2 == nil && err3 == nil && p.String() == mark && number >= 0 && timeline >= 0 {
			return p, nil
		}
	}
	return position{}, fmt.Errorf(`%w: this is no mark that Since gave; begin again with ""`, store.ErrInvalid)
}

// end is the first key that no longer begins with prefix. Keys are visible ASCII, so the last letter has a successor.
func end(prefix string) string {
	if prefix == "" {
		return "\x7f"
	}
	last := len(prefix) - 1
	return prefix[:last] + string(rune(prefix[last]+1))
}
