package rate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/throttled/throttled/v2"
)

// Quota is how many requests may come in a time, and how many at once. It is written "50/s burst 200", "100/m", "5/h
// burst 1"; without a burst, as many may come at once as in one unit of time.
type Quota struct {
	Count int           // requests in Per
	Per   time.Duration // a second, minute or hour
	Burst int           // requests at once
}

// UnmarshalText reads the written form. A quota of nothing is refused: to admit nobody is what access rules are for.
func (q *Quota) UnmarshalText(text []byte) error {
	wrong := fmt.Errorf("%q is not a rate; write requests per s, m or h and how many may come at once, such as 50/s burst 200", text)
	words := strings.Fields(string(text))
	if len(words) != 1 && (len(words) != 3 || words[1] != "burst") {
		return wrong
	}
	count, unit, ok := strings.Cut(words[0], "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > 1_000_000 {
		return wrong
	}
	per, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if !ok {
		return wrong
	}
	burst := n
	if len(words) == 3 {
		if burst, err = strconv.Atoi(words[2]); err != nil || burst < 1 || burst > 10_000_000 {
			return wrong
		}
	}
	*q = Quota{Count: n, Per: per, Burst: burst}
	return nil
}

// MarshalText writes the written form.
func (q Quota) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// String is the written form, such as "50/s burst 200".
func (q Quota) String() string {
	unit := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[q.Per]
	return fmt.Sprintf("%d/%s burst %d", q.Count, unit, q.Burst)
}

// window is the time in seconds in which a spent burst comes back, rounded up.
func (q Quota) window() int {
	return int((time.Duration(q.Burst)*q.Per/time.Duration(q.Count) + time.Second - 1) / time.Second)
}

// limiter makes the engine: the generic cell rate algorithm, which needs one number for each key and has no window edges
// at which a double burst would pass. Shared counters bring it with them.
func (q Quota) limiter(c Counters) (throttled.RateLimiterCtx, error) {
	if shared, ok := c.(Shared); ok {
		return shared.Limiter(q.Count, q.Per, q.Burst)
	}
	return throttled.NewGCRARateLimiterCtx(c, throttled.RateQuota{
		MaxRate: throttled.PerDuration(q.Count, q.Per), MaxBurst: q.Burst - 1,
	})
}
