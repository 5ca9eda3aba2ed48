package main

import (
	"context"
	"fmt"
	"time"
)

// upkeepEvery is how often the clock and the log of events are looked at.
const upkeepEvery = time.Second

// jumpFrom is how far the clock must have been set to be an event: what NTP slews in a second stays far below.
const jumpFrom = 2 * time.Second

// upkeep notes what no request shows: that the clock was set (row K5), that events cannot be written and can again.
func (n *node) upkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	failing := false
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
	}
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
