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

// counting settles what a node has spent of its allowances and takes what it needs beyond, of many counters of one limit in
// one call: most of what a call costs both sides is not the arithmetic. KEYS: the counters. ARGV: the time for one request and
// the time for a burst in microseconds; how many requests are needed and wanted of each; in tests, the time; and for each
// counter how many were spent (less than none: taken and not spent), how long ago that began, and how far ahead the counter is
// at least, by what this node counted alone, or nothing. Answers for each how many were granted and how far ahead it is
// now, in nanoseconds. A counter further ahead than two bursts, as after a failover to a server whose clock is behind, is
// brought back to that.
const counting = `
local now = tonumber(ARGV[5])
if not now then
  local t = redis.call('TIME')
  now = (t[1] - 1700000000) * 1000000 + t[2]
end
local one, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local need, want = tonumber(ARGV[3]), tonumber(ARGV[4])
local answers = {}
for i, key in ipairs(KEYS) do
  local spent, age, floor = tonumber(ARGV[3 + 3 * i]), ARGV[4 + 3 * i], ARGV[5 + 3 * i]
  local was = redis.call('GET', key)
  local at = math.min(tonumber(was or 0), now + 2 * burst)
  if floor ~= '' then at = math.max(at, now + math.min(floor, burst)) end
  if spent > 0 then at = math.max(at, now - age) end
  at = math.max(at + spent * one, now)
  local granted = 0
  if want > 0 then
    local free = math.floor((now + burst - at) / one + 0.000001)
    if free >= need and free > 0 then granted = math.min(want, free) end
    at = at + granted * one
  end
  if at > now then
    redis.call('SET', key, string.format('%.3f', at), 'PX', string.format('%.0f', math.ceil((at - now) / 1000) + 1000))
  elseif was then
    redis.call('DEL', key)
  end
  answers[2 * i - 1], answers[2 * i] = granted, math.floor((at - now) * 1000 + 0.5)
end
return answers`

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

// batch are questions that are asked in one call: what they say of the limit is the same.
type batch struct {
	interval, tolerance time.Duration
	need, want          int
}

// asker asks the server, all questions in one flow, those of one limit in one call; a cluster keeps counters in many places, and
// there each is asked by itself. A call whose connection broke is made once more: at worst something is counted twice.
func (c *Client) asker() asking {
	script := valkey.NewLuaScriptRetryable(counting)
	sum := sha1.Sum([]byte(counting)) //nolint:gosec // by which Redis names scripts
	name, apart := hex.EncodeToString(sum[:]), len(c.opts.Config.Cluster) > 0
	return func(ctx context.Context, counters []string, questions []question) []answer {
		answers := make([]answer, len(questions))
		conn, err := c.use()
		if err != nil {
			for i := range answers {
				answers[i].err = err
			}
			return answers
		}
		batches := batchesOf(questions, apart)
		calls := make(valkey.Commands, 0, len(batches))
		keys, arguments := make([][]string, len(batches)), make([][]string, len(batches))
		named := c.names.hasher()
		for i, indices := range batches {
			keys[i] = make([]string, 0, len(indices))
			for _, at := range indices {
				keys[i] = append(keys[i], c.names.counterBy(named, counters[at]))
			}
			arguments[i] = argumentsOf(questions, indices, "")
			calls = append(calls, conn.B().Evalsha().Sha1(name).Numkeys(int64(len(keys[i]))).Key(keys[i]...).Arg(arguments[i]...).Build().ToRetryable())
		}
		for i, result := range conn.DoMulti(ctx, calls...) {
			if refused, ok := valkey.IsValkeyErr(result.Error()); ok && refused.IsNoScript() {
				result = script.Exec(ctx, conn, keys[i], arguments[i])
			}
			for n, a := range read(result, len(keys[i])) {
				answers[batches[i][n]] = a
			}
		}
		return answers
	}
}

// batchesOf gives which questions go together.
func batchesOf(questions []question, apart bool) (all [][]int) {
	known := map[batch]int{}
	for i, q := range questions {
		b := batch{q.interval, q.tolerance, q.need, q.want}
		at, there := known[b]
		if !there || apart {
			at = len(all)
			known[b], all = at, append(all, nil)
		}
		all[at] = append(all[at], i)
	}
	return all
}

// argumentsOf writes the questions of one batch.
func argumentsOf(questions []question, indices []int, now string) []string {
	q := questions[indices[0]]
	list := make([]string, 0, 5+3*len(indices))
	list = append(list, micros(q.interval), micros(q.tolerance), strconv.Itoa(q.need), strconv.Itoa(q.want), now)
	for _, at := range indices {
		q, floor := questions[at], ""
		if q.floor > 0 {
			floor = micros(q.floor)
		}
		list = append(list, strconv.Itoa(q.spent), micros(q.age), floor)
	}
	return list
}

// micros writes a time in microseconds, to the thousandth where that isn't whole.
func micros(d time.Duration) string {
	if d%time.Microsecond == 0 {
		return strconv.FormatInt(int64(d/time.Microsecond), 10)
	}
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 3, 64)
}

// read gives the answers of one call about n counters.
func read(result valkey.ValkeyResult, n int) []answer {
	answers := make([]answer, n)
	list, err := result.AsIntSlice()
	if err == nil && len(list) != 2*n {
		err = ours{errors.New("what lies there is no counter of ours")}
	}
	for i := range answers {
		if err != nil {
			answers[i].err = err
			continue
		}
		answers[i] = answer{granted: int(list[2*i]), ahead: time.Duration(list[2*i+1])}
	}
	return answers
}
