package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-sec/gatehouse/config/source"
)

// upkeepEvery is how often the clock and the log of events are looked at.
const upkeepEvery = time.Second

// jumpFrom is how far the clock must have been set to be an event: what NTP slews in a second stays far below.
const jumpFrom = 2 * time.Second

// upkeep notes what no request shows: that the clock was set (row K5), that events cannot be written and can again.
func (n *node) upkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	failing, expired, told := false, int64(0), map[string]bool{}
	last, real := n.now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, passed := n.now(), time.Since(real)
		if jump := jumped(last, now, passed); jump != 0 {
			n.log.Warn("the clock was set", "by", jump)
			n.system("clock.jump", fmt.Sprintf("the clock was set by %s: tokens, certificates and rates are judged by the new time", jump))
		}
		last, real = now, real.Add(passed)
		failing = n.watchEvents(failing)
		expired = n.watchDocument(now, expired)
		told = n.watchEnds(told)
	}
}

// watchDocument tells once of each document in force that its note has expired: somebody may be keeping a newer one away.
// It gives the version of which it was told last.
func (n *node) watchDocument(now time.Time, told int64) int64 {
	if !n.current.TryLock() {
		return told // a reload; the next look will do
	}
	s := n.current.state
	n.current.Unlock()
	if s.Expires.IsZero() || now.Before(s.Expires) || s.Version == told {
		return told
	}
	text := fmt.Sprintf("the note of version %d ended on %s; what is in force stays so, but a start would be refused: sign the document again with a higher version", s.Version, s.Expires.UTC().Format(time.RFC3339))
	n.log.Warn("the document has expired", "reason", source.ReasonExpired, "version", s.Version, "expires", s.Expires)
	n.system(source.ReasonExpired, text)
	return s.Version
}

// jumped is by how much the wall clock moved more than the time that passed, or 0.
func jumped(before, after time.Time, passed time.Duration) time.Duration {
	jump := after.Round(0).Sub(before.Round(0)) - passed // Round(0) drops the monotonic reading
	if jump.Abs() < jumpFrom {
		return 0
	}
	return jump.Round(time.Second)
}

func (n *node) watchEvents(failing bool) bool {
	err := n.Err()
	switch {
	case err != nil && !failing:
		n.log.Error("events cannot be written", "error", err)
	case err == nil && failing:
		n.log.Info("events can be written again")
		n.system("audit.recovered", "events could not be written for a while; how many were not, the metric gatehouse_events_unwritten_total says")
	}
	return err != nil
}
