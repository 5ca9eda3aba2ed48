package redis

import (
	"context"
	"crypto/sha1" //nolint:gosec // by which Redis names scripts
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"
)

// A counter is one number at the server, as in throttled's GCRA: the time at which it will be empty again, in microseconds
// by the server's clock. Nodes only hear how far ahead that is, so that no two clocks need agree.

// counting settles what a node has spent of its allowance and takes what it needs beyond. KEYS: the counter. ARGV: the time for
// one request and the time for a burst in microseconds; how many requests are needed and wanted; how many were spent (less
// than none: taken and not spent) and how long ago that began; how far ahead the counter is at least, by what this node
// counted alone, or nothing; and, in tests, the time. Answers how many were granted and how far ahead it is now. A counter
// further ahead than two bursts, as after a failover to a server whose clock is behind, is brought back to that.
const counting = `
local now = tonumber(ARGV[8])
if not now then
  local t = redis.call('TIME')
  now = (t[1] - 1700000000) * 1000000 + t[2]
end
local one, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local need, want, spent = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local was = redis.call('GET', KEYS[1])
local at = math.min(tonumber(was or 0), now + 2 * burst)
if ARGV[7] ~= '' then at = math.max(at, now + math.min(ARGV[7], burst)) end
if spent > 0 then at = math.max(at, now - ARGV[6]) end
at = math.max(at + spent * one, now)
local free = math.floor((now + burst - at) / one + 0.000001)
local granted = 0
if free >= need and free > 0 then granted = math.min(want, free) end
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
	spent     int           // of the allowance; less than 0: granted before, and not spent
	age       time.Duration // since the first of them was spent
	floor     time.Duration // the counter is so far ahead at least; 0: nothing is known
}

// answer is what the counter granted, and how far ahead it is; or why nobody knows.
type answer struct {
	granted int
	ahead   time.Duration
	err     error
}

// asking is how questions reach counters: the server, or arithmetic in tests. It gives one answer for each.
type asking func(ctx context.Context, counters []string, questions []question) []answer

// asker asks the server, all questions in one flow. A call whose connection broke is made once more: at worst something is
// counted twice.
func (c *Client) asker() asking {
	script := valkey.NewLuaScriptRetryable(counting)
	sum := sha1.Sum([]byte(counting)) //nolint:gosec // by which Redis names scripts
	name := hex.EncodeToString(sum[:])
	return func(ctx context.Context, counters []string, questions []question) []answer {
		answers := make([]answer, len(questions))
		conn, err := c.use()
		if err != nil {
			for i := range answers {
				answers[i].err = err
			}
			return answers
		}
		calls := make(valkey.Commands, 0, len(questions))
		for i, q := range questions {
			calls = append(calls, conn.B().Evalsha().Sha1(name).Numkeys(1).Key(c.names.counter(counters[i])).Arg(q.arguments("")...).Build().ToRetryable())
		}
		for i, result := range conn.DoMulti(ctx, calls...) {
			if refused, ok := valkey.IsValkeyErr(result.Error()); ok && refused.IsNoScript() {
				result = script.Exec(ctx, conn, []string{c.names.counter(counters[i])}, questions[i].arguments(""))
			}
			answers[i] = read(result)
		}
		return answers
	}
}

func (q question) arguments(now string) []string {
	floor := ""
	if q.floor > 0 {
		floor = micros(q.floor)
	}
	return []string{micros(q.interval), micros(q.tolerance), strconv.Itoa(q.need), strconv.Itoa(q.want), strconv.Itoa(q.spent), micros(q.age), floor, now}
}

func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 3, 64)
}

func read(result valkey.ValkeyResult) answer {
	list, err := result.ToArray()
	if err != nil {
		return answer{err: err}
	}
	if len(list) == 2 {
		granted, err1 := list[0].AsInt64()
		ahead, err2 := list[1].AsFloat64()
		if err1 == nil && err2 == nil {
			return answer{granted: int(granted), ahead: time.Duration(ahead * float64(time.Microsecond))}
		}
	}
	return answer{err: ours{errors.New("what lies there is no counter of ours")}}
}
