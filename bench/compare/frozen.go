package main

import (
	"fmt"
	"io"
	"syscall"
	"time"
)

// frozen compares the latency of requests with a token before and while PostgreSQL is stopped where it is: connections
// stay, nothing answers.
func (f *field) frozen(w io.Writer, s *servers, rounds int) error {
	const rate, span = 500, 8 * time.Second
	fmt.Fprintf(w, "\n| %d requests/s with a token | p99 before | p99 while PostgreSQL is frozen | x before | not 200 | goal |\n|---|---|---|---|---|---|\n", rate)
	for _, r := range []remembered{s.both(), {postgres: s.postgres}} {
		list, err := f.nodes(1, r, "per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000")
		if err != nil {
			return err
		}
		var before, during []time.Duration
		var times []float64
		wrong := 0
		p := paced{list[0], f.token, rate}
		p.send(2 * time.Second)
		for range max(rounds, 3) {
			a := p.send(span)
			s.postgres.signal(syscall.SIGSTOP)
			b := p.send(span)
			s.postgres.signal(syscall.SIGCONT)
			time.Sleep(2 * time.Second)
			before, during = append(before, a.at(99)), append(during, b.at(99))
			times = append(times, b.at(99).Seconds()/a.at(99).Seconds())
			wrong += a.wrong() + b.wrong()
		}
		stopAll(list)
		fmt.Fprintf(w, "| %s | %.2f ms | %.2f ms | %.2f | %d | no slower |\n", r, milliseconds(half(before)), milliseconds(half(during)), half(times), wrong)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }
