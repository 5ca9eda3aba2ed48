// Package maintenance closes an API for as long as its operators work on it. It stops requests that would meet a half
// finished change: they are turned away with the time to come back, and nothing reaches the server.
package maintenance

import (
	"context"
	"strconv"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Closed is the reason with which this guard denies.
const Closed gate.Reason = "maintenance.closed"

// Config is the section guards.maintenance.
type Config struct {
	// Why the API is closed, for the event. Default: it is open.
	Closed string `yaml:"closed"`
	// When clients may come back, from each request on. Default 10m.
	RetryAfter time.Duration `yaml:"retry_after"`
}

// Guard is the guard. Make it with New: the zero Guard denies everything.
type Guard struct {
	open  bool
	why   string
	retry string // seconds
}

// New checks the section and gives every mistake in it.
func New(cfg Config) (*Guard, error) {
	var m mistake.List
	if cfg.RetryAfter < 0 {
		m.Add("retry_after", "10m", "%s lies in the past", cfg.RetryAfter)
	}
	if cfg.RetryAfter > 0 && cfg.Closed == "" {
		m.Add("retry_after", `closed: "the database moves"`, "says when to come back, but nothing is closed")
	}
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = 10 * time.Minute
	}
	seconds := strconv.FormatInt(int64(cfg.RetryAfter/time.Second), 10)
	return &Guard{open: cfg.Closed == "", why: cfg.Closed, retry: seconds}, m.Err()
}

// Check implements gate.Guard.
func (g *Guard) Check(context.Context, *gate.Exchange) gate.Verdict {
	if g.open {
		return gate.Allow()
	}
	return gate.Deny(gate.Unavailable, Closed, "closed: %s", g.why).
		At("guards.maintenance.closed").Fixed("remove guards.maintenance.closed").With("Retry-After", g.retry)
}
