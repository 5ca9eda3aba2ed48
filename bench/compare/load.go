package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// request is what a case sends.
type request struct {
	method string
	path   string
	fields map[string]string
	body   string
	spread int // the path ends in a random number below this instead of 0, when it isn't 0
}

// result is what a run gave.
type result struct {
	micros   float64 // CPU microseconds of the gateway for each request
	requests float64
	rate     float64 // requests a second
	p50, p99 time.Duration
	memory   float64 // MiB at the peak
	errors   int     // answers other than 2xx, and broken connections
}

var (
	totalRequests = regexp.MustCompile(`(\d+) requests in`)
	perSecond     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	percentile    = regexp.MustCompile(`(50|99)%\s+([\d.]+)(us|ms|s)`)
	notOK         = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	socketErrors  = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// drive sends the request as often as one wrk can, and measures what it cost the process.
func drive(p *process, base string, r request, connections int, d time.Duration, dir string) (result, error) {
	script := filepath.Join(dir, "request.lua")
	if err := os.WriteFile(script, []byte(r.lua()), 0o600); err != nil {
		return result{}, err
	}
	w := wrk{script: script, connections: connections, url: base + r.path}
	if _, err := w.run(time.Second); err != nil { // warm up
		return result{}, err
	}
	before, err := p.CPU()
	if err != nil {
		return result{}, err
	}
	out, err := w.run(d)
	if err != nil {
		return result{}, err
	}
	after, err := p.CPU()
	if err != nil {
		return result{}, err
	}
	out.micros = float64((after - before).Microseconds()) / out.requests
	out.memory = p.Memory()
	return out, nil
}

// wrk is one run of it.
type wrk struct {
	script      string
	connections int
	url         string
}

// run sends for so long. The result lacks what only the process knows.
func (w wrk) run(d time.Duration) (result, error) {
	said, err := exec.Command("wrk", "-t1", fmt.Sprintf("-c%d", w.connections), "--timeout", "20s", "--latency", fmt.Sprintf("-d%ds", int(d.Seconds())), "-s", w.script, w.url).CombinedOutput()
	text := string(said)
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w: %s", err, text)
	}
	out := result{requests: number(totalRequests, text), rate: number(perSecond, text), errors: int(number(notOK, text))}
	if out.requests == 0 {
		return result{}, fmt.Errorf("no request was served: %s", text)
	}
	for _, m := range socketErrors.FindStringSubmatch(text) {
		if k, err := strconv.Atoi(m); err == nil {
			out.errors += k
		}
	}
	for _, m := range percentile.FindAllStringSubmatch(text, -1) {
		d, err := time.ParseDuration(m[2] + m[3])
		if err != nil {
			return result{}, err
		}
		if m[1] == "50" {
			out.p50 = d
		} else {
			out.p99 = d
		}
	}
	return out, nil
}

func number(pattern *regexp.Regexp, text string) float64 {
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	f, _ := strconv.ParseFloat(m[1], 64)
	return f
}

// lua writes the request for wrk.
func (r request) lua() string {
	text := fmt.Sprintf("wrk.method = %q\n", r.method)
	for name, value := range r.fields {
		text += fmt.Sprintf("wrk.headers[%q] = %q\n", name, value)
	}
	if r.body != "" {
		text += fmt.Sprintf("wrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[%s]==]\n", r.body)
	}
	if r.spread > 0 {
		text += fmt.Sprintf("request = function() return wrk.format(nil, %q .. math.random(0, %d)) end\n", strings.TrimSuffix(r.path, "0"), r.spread-1)
	}
	return text
}
