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
	const rate, span = 500, 5 * time.Second
	fmt.Fprintf(w, "\n| %d requests/s with a token | p50, p99, longest before | while PostgreSQL is frozen | p99 x before | not 200 | goal |\n|---|---|---|---|---|---|\n", rate)
	for _, r := range []remembered{s.both(), {postgres: s.postgres}} {
		list, err := f.nodes(1, r, "per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000")
		if err != nil {
			return err
		}
		var before, during felt
		var times []float64
		p := paced{list[0], f.token, rate}
		p.send(2 * time.Second)
		for range max(rounds, 5) {
			a := p.send(span)
			s.postgres.Signal(syscall.SIGSTOP)
			b := p.send(span)
			s.postgres.Signal(syscall.SIGCONT)
			time.Sleep(2 * time.Second)
			before.add(a)
			during.add(b)
			times = append(times, b.at(99).Seconds()/a.at(99).Seconds())
		}
		stopAll(list)
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %d | no slower |\n", r, before, during, half(times), before.wrong()+during.wrong())
	}
	return nil
}
