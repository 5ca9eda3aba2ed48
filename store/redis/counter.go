package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"
)

// A counter is one number at the server, as in throttled's GCRA: the time at which it will be empty again, in microseconds
// by the server's clock. Nodes only hear how far ahead that is, so that no two clocks need agree.

// counting takes a lease of requests. KEYS: the counter. ARGV: the time for one request and the time for a burst in
// microseconds; how many requests are needed, wanted, and given back unspent; how far ahead the counter is at least, by what
// this node counted alone, or nothing; and, in tests, the time. Answers how many were granted and how far ahead it is now.
// A counter further ahead than a burst, as after a failover to a server whose clock is behind, is brought back to that.
const counting = `
local now = tonumber(ARGV[7])
if not now then
  local t = redis.call('TIME')
  now = (t[1] - 1700000000) * 1000000 + t[2]
end
local one, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local need, want, back = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local was = redis.call('GET', KEYS[1])
local at = math.max(tonumber(was or now), now)
if ARGV[6] ~= '' then at = math.max(at, now + ARGV[6]) end
at = math.max(math.min(at, now + burst) - back * one, now)
local free = math.floor((now + burst - at) / one + 0.000001)
local granted = 0
if free >= need then granted = math.min(want, free) end
at = at + granted * one
if at > now then
  redis.call('SET', KEYS[1], string.format('%.3f', at), 'PX', string.format('%.0f', math.ceil((at - now) / 1000) + 1000))
elseif was then
  redis.call('DEL', KEYS[1])
end
return {granted, string.format('%.3f', at - now)}`

// question is what a node asks of a counter.
type question struct {
	interval  time.Duration // one request
	tolerance time.Duration // a burst
	need      int           // nothing is granted unless this much can be
	want      int
	give      int           // of an earlier lease, unspent
	floor     time.Duration // the counter is so far ahead at least; 0: nothing is known
}

// answer is what the counter granted, and how far ahead it is.
type answer struct {
	granted int
	ahead   time.Duration
}

// asking is how questions reach a counter: the server, or arithmetic in tests.
type asking func(ctx context.Context, counter string, q question) (answer, error)

// asker asks the server. A call whose connection broke is made once more: at worst a lease is lost.
func (c *Client) asker() asking {
	script := valkey.NewLuaScriptRetryable(counting)
	return func(ctx context.Context, counter string, q question) (answer, error) {
		conn, err := c.use()
		if err != nil {
			return answer{}, err
		}
		list, err := script.Exec(ctx, conn, []string{c.names.counter(counter)}, q.arguments("")).ToArray()
		if err != nil {
			return answer{}, err
		}
		return read(list)
	}
}

func (q question) arguments(now string) []string {
	floor := ""
	if q.floor > 0 {
		floor = micros(q.floor)
	}
	return []string{micros(q.interval), micros(q.tolerance), strconv.Itoa(q.need), strconv.Itoa(q.want), strconv.Itoa(q.give), floor, now}
}

func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 3, 64)
}

func read(list []valkey.ValkeyMessage) (answer, error) {
	if len(list) != 2 {
		return answer{}, ours{errors.New("what lies there is no counter of ours")}
	}
	granted, err1 := list[0].AsInt64()
	ahead, err2 := list[1].AsFloat64()
	if errors.Join(err1, err2) != nil {
		return answer{}, ours{errors.New("what lies there is no counter of ours")}
	}
	return answer{granted: int(granted), ahead: time.Duration(ahead * float64(time.Microsecond))}, nil
}
