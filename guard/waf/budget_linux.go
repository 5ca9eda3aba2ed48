package waf

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is how long this thread has computed. It does not run on while others have the processor, so that a busy
// machine denies nobody.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
