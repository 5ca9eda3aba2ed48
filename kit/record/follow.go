package record

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pollEvery = 250 * time.Millisecond
	patience  = 5 * time.Second
	silence   = 10 * time.Second // after which Heard is false

	forgetEvery = time.Second
)

// Changes is a store that tells what has changed. The mark is what it gave the time before, "" at first. What it drops because
// its end has come, it doesn't tell.
type Changes interface {
	Since(ctx context.Context, prefix, mark string) (changed []Record, next string, err error)
}

// Options say what is followed.
type Options[T any] struct {
	Prefix  string
	What    string // in words for the log, as "API keys"
	Unread  string // what becomes of a record that isn't understood, in words for the log
	Invalid error  // see Errors
	Now     func() time.Time
	Log     *slog.Logger
	// Read understands a record. Old is what its key stood for before, the zero value when it stood for nothing. A record that
	// isn't understood is an error; what was known before then stays, unless Drop is set.
	Read func(r Record, old T) (T, error)
	Drop bool
	// Changed is told, one call at a time, all that is known when something of it has changed; nil: nobody is.
	Changed func(all []T)
}

// Follower keeps what lies under a prefix in memory. Make one for each process, Load it before the first request, and let it
// Run. It is safe for use by many goroutines.
type Follower[T any] struct {
	in      Changes
	options Options[T]
	contact atomic.Int64 // when the store was heard of last, in nanoseconds; 0: never

	loading sync.Mutex // of Load, which one does at a time
	mark    string

	mu     sync.Mutex // guards the rest
	known  map[string]known[T]
	looked time.Time            // for what has ended
	unread map[string]time.Time // records that aren't understood, and until when they are there
}

type known[T any] struct {
	value   T
	version int64
	until   time.Time // from then on the record is not there
}

// Follow makes a Follower that knows nothing yet.
func Follow[T any](in Changes, o Options[T]) *Follower[T] {
	return &Follower[T]{in: in, options: o, known: map[string]known[T]{}, unread: map[string]time.Time{}}
}

// Load learns what has changed since the store was asked last.
func (f *Follower[T]) Load(ctx context.Context) error {
	f.loading.Lock() // it is followed, and an operator may ask
	defer f.loading.Unlock()
	for {
		asked := f.options.Now()
		changed, next, err := f.in.Since(ctx, f.options.Prefix, f.mark)
		if err != nil && errors.Is(err, f.options.Invalid) && f.mark != "" {
			f.mark = "" // the store was moved to another kind; everything is read again
			continue
		}
		if err != nil {
			return err
		}
		f.Learn(changed...)
		done := len(changed) == 0 || next == f.mark
		f.mark = next
		if done {
			f.contact.Store(asked.UnixNano())
			return nil
		}
	}
}

// Run follows the store until ctx ends.
func (f *Follower[T]) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		attempt, cancel := context.WithTimeout(ctx, patience)
		err := f.Load(attempt)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; failed != failing {
			failing = failed
			if failed {
				f.options.Log.Warn(f.options.What+" can't be followed in the store; those that are known stay in force", "error", err)
			} else {
				f.options.Log.Info(f.options.What + " are followed in the store again")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Learn takes records in: what was read, or what this process has written itself.
func (f *Follower[T]) Learn(records ...Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := f.forget()
	for _, r := range records {
		old, ok := f.known[r.Key]
		if ok && r.Version <= old.version {
			continue // told twice, or our own change came after what was read meanwhile
		}
		if !r.Expires.IsZero() && !f.options.Now().Before(r.Expires) {
			delete(f.known, r.Key) // it has ended by now, and so has what stood there before
			delete(f.unread, r.Key)
			changed = changed || ok
			continue
		}
		changed = true
		value, err := f.options.Read(r, old.value)
		if err != nil {
			f.options.Log.Error(f.options.Unread, "record", r.Key, "error", err)
			f.unread[r.Key] = r.Expires
			if f.options.Drop {
				delete(f.known, r.Key)
			}
			continue
		}
		delete(f.unread, r.Key)
		f.known[r.Key] = known[T]{value: value, version: r.Version, until: r.Expires}
	}
	if changed && f.options.Changed != nil {
		f.options.Changed(f.all())
	}
}

// forget drops what the store has dropped, which it doesn't tell. It looks at all there is, so not at each record that comes.
func (f *Follower[T]) forget() (changed bool) {
	now := f.options.Now()
	if since := now.Sub(f.looked); since >= 0 && since < forgetEvery {
		return false
	}
	f.looked = now
	over := func(until time.Time) bool { return !until.IsZero() && !now.Before(until) }
	for key, one := range f.known {
		if over(one.until) {
			delete(f.known, key)
			changed = true
		}
	}
	for key, until := range f.unread {
		if over(until) {
			delete(f.unread, key)
		}
	}
	return changed
}

func (f *Follower[T]) all() []T {
	list := make([]T, 0, len(f.known))
	for _, one := range f.known {
		list = append(list, one.value)
	}
	return list
}

// All is what is known, in no order.
func (f *Follower[T]) All() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all()
}

// Each calls do with all that is known, in no order, until do says that it has enough. Do may not call the Follower.
func (f *Follower[T]) Each(do func(T) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.known {
		if !do(one.value) {
			return
		}
	}
}

// Get gives what a key stands for, and whether it stands for anything.
func (f *Follower[T]) Get(key string) (T, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, ok := f.known[key]
	return one.value, ok
}

// Unread is how many records are not understood here.
func (f *Follower[T]) Unread() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.unread)
}

// Heard tells that the store was heard of lately.
func (f *Follower[T]) Heard() bool {
	heard := f.contact.Load()
	return heard != 0 && f.options.Now().Sub(time.Unix(0, heard)) <= silence
}
