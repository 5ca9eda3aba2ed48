//go:build !linux

package waf

import "time"

// start0 is a moment to count from; it never changes.
var start0 = time.Now()

// threadTime is the time of day, where a thread's own can't be had.
func threadTime() time.Duration { return time.Since(start0) }
