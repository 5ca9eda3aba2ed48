package fleet

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// epochKey holds since when the shared records remember everything.
const epochKey = "once/epoch"

// Once remembers what was shown once, in records that nodes share or in this process' memory. Both may begin anew: the
// moment since which nothing was lost stands among the records themselves, so that it is gone when they are. A failover
// of Redis to a replica that lags is not seen; see the package's README.
type Once struct {
	records store.Records
	now     func() time.Time
	since   atomic.Int64 // nanoseconds since 1970, as last seen
}

// NewOnce makes a memory over records. Call Begin when the process starts.
func NewOnce(records store.Records, now func() time.Time) *Once {
	o := &Once{records: records, now: now}
	o.since.Store(now().UnixNano())
	return o
}

// Begin looks since when the records remember, and notes now when they are new. Without it, the first request does.
func (o *Once) Begin(ctx context.Context) error { return o.look(ctx) }

// First tells that nobody has shown key before, and remembers it until a time. With store.ErrUnavailable it is not known,
// and the key may count as shown.
func (o *Once) First(ctx context.Context, key string, until time.Time) (bool, error) {
	if !until.After(o.now()) {
		return false, errors.New("fleet: what is over cannot be remembered")
	}
	first, err := store.Once(ctx, o.records, key, until)
	if !first || err != nil {
		return false, err
	}
	if err := o.look(ctx); err != nil { // after the write: records that begin anew between the two are seen now
		return false, err
	}
	return true, nil
}

// Since tells from when on everything is remembered, as First has seen it last.
func (o *Once) Since() time.Time { return time.Unix(0, o.since.Load()) }

func (o *Once) look(ctx context.Context) error {
	for range 3 {
		r, err := o.records.Get(ctx, epochKey)
		version := int64(0)
		if errors.Is(err, store.ErrSealed) { // its key was destroyed, or somebody was at it: what it said is not known any more
			version, err = store.Any, store.ErrNone
		}
		if err == nil {
			n, err := strconv.ParseInt(string(r.Value), 10, 64)
			if err != nil {
				return errors.New("fleet: since when tokens are remembered cannot be read")
			}
			o.since.Store(n)
			return nil
		}
		if !errors.Is(err, store.ErrNone) {
			return err
		}
		_, err = o.records.Write(ctx, store.Write{Key: epochKey, Value: []byte(strconv.FormatInt(o.now().UnixNano(), 10)), Version: version})
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrUnavailable
}
