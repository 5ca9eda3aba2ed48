package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// sweepBatch is how many records go in one transaction: nobody waits for the sweep longer than for another write.
const sweepBatch = 500

// A record whose turn it is to be written anew is left to its writer, and one that another node sweeps to that node.
const sweepSome = `DELETE FROM record WHERE key IN (
	SELECT key FROM record WHERE ends <= now() ORDER BY ends LIMIT $1 FOR UPDATE SKIP LOCKED)`

// Sweep removes records that have expired, at most limit, and tells how many there were. Nothing depends on it: they are
// not there for anybody since they expired.
func (db *DB) Sweep(ctx context.Context, limit int) (int, error) {
	var n int64
	err := db.try(ctx, true, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, sweepSome, limit)
		n = tag.RowsAffected()
		return err
	})
	return int(n), err
}

// sweepAll sweeps for as long as the store is open: all there is in every interval, with pauses between batches. Every node
// does; they share the work.
func (db *DB) sweepAll(ctx context.Context, interval time.Duration) {
	failing := false
	for wait(ctx, interval) == nil {
		for {
			n, err := db.Sweep(ctx, sweepBatch)
			if err != nil && !failing && ctx.Err() == nil {
				db.log.Warn("expired records are not removed", "part", "store", "error", err.Error())
			}
			failing = err != nil
			if err != nil || n < sweepBatch || wait(ctx, 50*time.Millisecond) != nil {
				break
			}
		}
	}
}
