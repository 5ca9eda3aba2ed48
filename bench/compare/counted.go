package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// traffic is who calls, and how often they may.
type traffic struct {
	name    string
	callers int
	rate    string // the section guards.rate
}

// counted measures what a request costs each of three gateways that share their counters in Redis, beside one alone with its
// counters in memory, and beside three that share the machine but nothing else: the machine is as busy then.
func (f *field) counted(w io.Writer, s *servers, rounds int, d time.Duration) error {
	fmt.Fprintf(w, "\n| callers, limits | one, memory: CPU µs/request | three, memory | three, Redis | x one | x three | Redis' own | goal |\n|---|---|---|---|---|---|---|---|\n")
	for _, t := range []traffic{
		{"1 at 1 address, 1000000/s", 1, "per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000"},
		{"20 at 20 addresses, 5000/s burst 10000", 20, "per_address: 5000/s burst 10000, per_caller: 5000/s burst 10000"},
		{"2000 at 2000 addresses, default limits", 2000, "per_address: 50/s burst 200, per_caller: 20/s burst 100"},
	} {
		if err := f.countedFor(w, s, t, max(rounds, 3), d); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

func (f *field) countedFor(w io.Writer, s *servers, t traffic, rounds int, d time.Duration) error {
	script := filepath.Join(f.dir, "callers.lua")
	if err := f.callers(script, t.callers); err != nil {
		return err
	}
	alone, err := f.nodes(3, remembered{}, t.rate)
	if err != nil {
		return err
	}
	defer stopAll(alone)
	shared, err := f.nodes(3, s.both(), t.rate)
	if err != nil {
		return err
	}
	defer stopAll(shared)
	var one, three, over, times, timesThree, redis []float64
	for i := range rounds + 1 {
		a, _, err := together(alone[:1], s.redis, script, d)
		if err != nil {
			return err
		}
		b, _, err := together(alone, s.redis, script, d)
		if err != nil {
			return err
		}
		c, own, err := together(shared, s.redis, script, d)
		if err != nil {
			return err
		}
		if i == 0 { // everything is warm after the first
			continue
		}
		one, three, over, redis = append(one, a), append(three, b), append(over, c), append(redis, own)
		times, timesThree = append(times, c/a), append(timesThree, c/b)
	}
	fmt.Fprintf(w, "| %s | %.1f | %.1f | %.1f | %.2f | %.2f | %.1f | <= 1.1 |\n", t.name, half(one), half(three), half(over), half(times), half(timesThree), half(redis))
	return nil
}

// together drives nodes at the same time, with 32 connections in all, and gives the CPU time of a request through them, and
// Redis' beside it, in microseconds.
func together(list []*node, redis *process, script string, d time.Duration) (micros, own float64, err error) {
	before, err := used(list, redis)
	if err != nil {
		return 0, 0, err
	}
	results, errs := make([]result, len(list)), make([]error, len(list))
	var all sync.WaitGroup
	for i, n := range list {
		all.Go(func() {
			results[i], errs[i] = wrk{script: script, connections: 32 / len(list), url: n.base + "/orders/7"}.run(d)
		})
	}
	all.Wait()
	after, err := used(list, redis)
	if err != nil {
		return 0, 0, err
	}
	var requests float64
	for i, r := range results {
		if errs[i] != nil {
			return 0, 0, errs[i]
		}
		if r.errors > 0 {
			return 0, 0, fmt.Errorf("%d of %.0f requests went wrong", r.errors, r.requests)
		}
		requests += r.requests
	}
	return float64((after[0] - before[0]).Microseconds()) / requests, float64((after[1] - before[1]).Microseconds()) / requests, nil
}

// used is the CPU time of the nodes so far, and of Redis.
func used(list []*node, redis *process) (sum [2]time.Duration, err error) {
	for _, n := range list {
		t, err := n.CPU()
		if err != nil {
			return sum, err
		}
		sum[0] += t
	}
	sum[1], err = redis.CPU()
	return sum, err
}

// callers writes a script for wrk that sends each request as another caller from another address.
func (f *field) callers(file string, n int) error {
	var b strings.Builder
	b.WriteString("local callers = {\n")
	for i := range n {
		token, err := f.issuer.token(fmt.Sprintf("caller-%d", i), fmt.Sprintf("token-%d", i))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "{%q, \"10.1.%d.%d\"},\n", token, i/250, i%250+1)
	}
	b.WriteString(`}
local requests = {}
function init()
  math.randomseed(os.time())
  for i, c in ipairs(callers) do
    requests[i] = wrk.format("GET", nil, {Host = wrk.host, Authorization = "Bearer " .. c[1], ["X-Forwarded-For"] = c[2]})
  end
end
function request() return requests[math.random(#requests)] end
`)
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
