package backup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// upkeep is what regular work remembers between two looks.
type upkeep struct {
	since   time.Time // of this process
	retry   time.Time // not before then
	pause   time.Duration
	overdue time.Time // when that was told last
}

// How long a place that cannot be reached is left alone, at first and at most; and how often Run looks.
const (
	firstPause = time.Minute
	longPause  = time.Hour
	look       = time.Minute
)

// Run does what is due, every minute, until ctx ends. Of several nodes only one should: see Tick.
func (b *Backups) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := b.Tick(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrBusy) {
			b.tools.Notify(Notice{Kind: "failed", Alarm: true, Text: err.Error()})
		}
		if b.sleep(ctx, look) != nil {
			return
		}
	}
}

// Tick does what is due now: it brings waiting backups to their place, makes one when the newest is an interval old, removes
// those that are no longer kept, and sounds the alarm when no backup has reached its place for two intervals (K12). A
// place that cannot be reached is tried again after one minute, then two, then four, up to an hour.
func (b *Backups) Tick(ctx context.Context) error {
	if err := b.spool.begin(); err != nil {
		return err
	}
	defer b.spool.end()
	now := b.tools.Now()
	newest, safe, err := b.newest(ctx)
	b.alarm(now, safe)
	if now.Before(b.clock.retry) {
		return nil
	}
	if err == nil {
		err = b.flush(ctx)
	}
	if now.Sub(newest) >= b.cfg.Every { // also when its place cannot be reached: it can wait
		_, made := b.create(ctx, quiet(nil))
		var f *Flaw
		if errors.As(made, &f) { // told already, and the next one is due in its time
			made = nil
		}
		err = errors.Join(err, made)
		if made == nil {
			_, pruned := b.Prune(ctx)
			err = errors.Join(err, pruned)
		}
	}
	if err == nil {
		b.clock.retry, b.clock.pause = time.Time{}, 0
		return nil
	}
	b.clock.pause = min(max(2*b.clock.pause, firstPause), longPause)
	b.clock.retry = now.Add(b.clock.pause)
	return fmt.Errorf("%w; tried again in %s", err, b.clock.pause)
}

// Due tells when the next backup is to be made, by what the book says of the newest: the place isn't asked. It is in the past
// when one is overdue.
func (b *Backups) Due(ctx context.Context) (time.Time, error) {
	entries, err := b.tools.Book.All(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var made time.Time
	for _, e := range entries {
		made = later(made, e.Time)
	}
	if made.IsZero() {
		return b.tools.Now(), nil
	}
	return made.Add(b.cfg.Every), nil
}

// newest tells when the newest backup was made, and when the newest of those was that have reached their place. What the
// book says counts as well, since the place may be out of reach.
func (b *Backups) newest(ctx context.Context) (made, safe time.Time, err error) {
	entries, bookErr := b.tools.Book.All(ctx)
	if bookErr != nil {
		b.tools.Notify(Notice{Kind: "failed", Alarm: true, Text: bookErr.Error()})
	}
	all, err := b.List(ctx)
	for _, l := range all {
		made = later(made, l.Time)
		if !l.Waiting {
			safe = later(safe, l.Time)
		}
	}
	if err != nil {
		for _, e := range entries {
			if !e.Delivered.IsZero() {
				made, safe = later(made, e.Time), later(safe, e.Time)
			}
		}
	}
	return made, safe, err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// alarm tells, once an interval, that there is no backup where one should be.
func (b *Backups) alarm(now, safe time.Time) {
	if safe.IsZero() {
		safe = b.clock.since
	}
	if now.Sub(safe) < 2*b.cfg.Every {
		b.clock.overdue = time.Time{}
		return
	}
	if !b.clock.overdue.IsZero() && now.Sub(b.clock.overdue) < b.cfg.Every {
		return
	}
	b.clock.overdue = now
	waiting, _ := b.spool.waiting()
	b.tools.Notify(Notice{Kind: "overdue", Alarm: true, Text: fmt.Sprintf("no backup has reached %s since %s; there should be one every %s, and %d wait in %s",
		b.place, safe.UTC().Format(time.RFC3339), b.cfg.Every, len(waiting), b.spool.Path)})
}

// Flush brings to its place what waits in this node's spool. It is for the nodes that do not Tick: what one of them has made
// before would wait there for ever.
func (b *Backups) Flush(ctx context.Context) error {
	if err := b.spool.begin(); err != nil {
		return err
	}
	defer b.spool.end()
	return b.flush(ctx)
}

// flush brings what waits to its place, the oldest first.
func (b *Backups) flush(ctx context.Context) error {
	waiting, err := b.spool.waiting()
	if err != nil || len(waiting) == 0 {
		return err
	}
	known := map[string]Entry{}
	entries, err := b.tools.Book.All(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		known[e.Name] = e
	}
	for _, o := range waiting {
		e, ok := known[o.Name]
		if _, when, _, _ := readName(o.Name); !ok {
			e = Entry{Name: o.Name, Time: when, Size: o.Size}
		}
		if err := b.deliver(ctx, &e, quiet(nil)); err != nil {
			return fmt.Errorf("%w: %w", ErrWaiting, err)
		}
		b.tools.Notify(Notice{Kind: "delivered", Backup: o.Name, Text: "a backup that waited has reached " + b.place.String()})
		if b.cfg.proves() {
			var f *Flaw
			if _, err := b.prove(ctx, o.Name, e, nil, quiet(nil)); err != nil && !errors.As(err, &f) {
				return err
			}
		}
	}
	return nil
}
