package memory

import (
	"container/heap"
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Records is a store.Records for one process: what one node need not share, and what tests need no server for. It keeps a
// bounded number of records. When there is no more room a new one is refused with store.ErrUnavailable, and none is pushed
// out: each stands for something that must not be forgotten early, such as a token that was used.
type Records struct {
	seed  maphash.Seed
	limit int // records in each shard
	now   func() time.Time
	shard [shards]recordShard
}

type recordShard struct {
	mu   sync.Mutex
	keys map[string]store.Record
	ends endings
}

// NewRecords makes room for about limit records.
func NewRecords(limit int, now func() time.Time) *Records {
	r := &Records{seed: maphash.MakeSeed(), limit: max(1, limit/shards), now: now}
	for i := range r.shard {
		r.shard[i].keys = map[string]store.Record{}
	}
	return r
}

// at gives the shard of a key, locked, without what has expired.
func (r *Records) at(key string) (*recordShard, time.Time) {
	s := &r.shard[maphash.String(r.seed, key)%shards]
	now := r.now()
	s.mu.Lock()
	s.expire(now)
	return s, now
}

// Get gives a record that is there, or store.ErrNone.
func (r *Records) Get(ctx context.Context, key string) (store.Record, error) {
	if err := usable(ctx, store.CheckKey(key)); err != nil {
		return store.Record{}, err
	}
	s, _ := r.at(key)
	defer s.mu.Unlock()
	record, ok := s.keys[key]
	if !ok {
		return store.Record{}, store.ErrNone
	}
	record.Value = clone(record.Value)
	return record, nil
}

// Write changes one record if it has the version that w names.
func (r *Records) Write(ctx context.Context, w store.Write) (int64, error) {
	if err := usable(ctx, store.CheckWrites(w)); err != nil {
		return 0, err
	}
	s, now := r.at(w.Key)
	defer s.mu.Unlock()
	old, there := s.keys[w.Key]
	if w.Version != store.Any && w.Version != old.Version {
		return 0, store.ErrConflict
	}
	if w.Value == nil {
		delete(s.keys, w.Key)
		return 0, nil
	}
	if !w.Expires.IsZero() && !now.Before(w.Expires) {
		delete(s.keys, w.Key)
		return old.Version + 1, nil
	}
	if !there && len(s.keys) >= r.limit {
		return 0, fmt.Errorf("%w: memory holds as many records as it may", store.ErrUnavailable)
	}
	s.keys[w.Key] = store.Record{Key: w.Key, Value: clone(w.Value), Version: old.Version + 1, Expires: w.Expires}
	if !w.Expires.IsZero() && !(there && w.Expires.Equal(old.Expires)) {
		heap.Push(&s.ends, ending{w.Expires, w.Key})
		s.tidy()
	}
	return old.Version + 1, nil
}

// Len is the number of records held.
func (r *Records) Len() (n int) {
	for i := range r.shard {
		r.shard[i].mu.Lock()
		n += len(r.shard[i].keys)
		r.shard[i].mu.Unlock()
	}
	return n
}

// expire forgets what has ended. A record that was renewed has a later ending in the heap, too, and stays.
func (s *recordShard) expire(now time.Time) {
	for len(s.ends) > 0 && !now.Before(s.ends[0].at) {
		key := heap.Pop(&s.ends).(ending).key
		if record := s.keys[key]; !record.Expires.IsZero() && !now.Before(record.Expires) {
			delete(s.keys, key)
		}
	}
}

// tidy makes the heap anew when most of it tells of records that were renewed or removed, so that it stays bounded.
func (s *recordShard) tidy() {
	if len(s.ends) < 16 || len(s.ends) <= 2*len(s.keys) {
		return
	}
	s.ends = s.ends[:0]
	for key, record := range s.keys {
		if !record.Expires.IsZero() {
			s.ends = append(s.ends, ending{record.Expires, key})
		}
	}
	heap.Init(&s.ends)
}

// usable tells why a call is not made: it is wrong, or its caller has gone.
func usable(ctx context.Context, wrong error) error {
	if wrong != nil {
		return wrong
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// clone copies a value; an empty one stays different from none.
func clone(value []byte) []byte { return append([]byte{}, value...) }

// ending is when a record ends, unless it was changed since.
type ending struct {
	at  time.Time
	key string
}

// endings is a heap, the earliest first.
type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push and Pop are what container/heap calls.
func (e *endings) Push(x any) { *e = append(*e, x.(ending)) }

// Pop takes the last.
func (e *endings) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = ending{}
	*e = (*e)[:last]
	return x
}
