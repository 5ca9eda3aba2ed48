package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// reached calls tokens back through one gateway and asks the other until it refuses them.
func (f *field) reached(w io.Writer, s *servers) error {
	const tokens = 100
	fmt.Fprintf(w, "\n| %d tokens called back at one gateway, refused by the other | p50 | p99 | goal |\n|---|---|---|---|\n", tokens)
	for _, r := range []remembered{s.both(), {postgres: s.postgres}} {
		list, err := f.nodes(2, r, "per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000")
		if err != nil {
			return err
		}
		var asked, done []time.Duration
		for i := range tokens {
			a, b, err := f.reach(list[0], list[1], fmt.Sprintf("%p-%d", list, i))
			if err != nil {
				stopAll(list)
				return err
			}
			asked, done = append(asked, a), append(done, b)
		}
		stopAll(list)
		for _, c := range []struct {
			name  string
			times []time.Duration
		}{{"after the command was started", asked}, {"after it said that it is done", done}} {
			slices.Sort(c.times)
			fmt.Fprintf(w, "| %s, %s | %d ms | %d ms | < 1 s |\n", r, c.name, c.times[tokens/2].Milliseconds(), c.times[tokens*99/100].Milliseconds())
		}
	}
	return nil
}

// reach calls one token back. It gives the time until it is refused from the start of the command, and from its end.
func (f *field) reach(here, there *node, id string) (asked, done time.Duration, err error) {
	token, err := f.issuer.token("caller", id)
	if err != nil {
		return 0, 0, err
	}
	c := client()
	defer c.CloseIdleConnections()
	if status, err := there.ask(c, token); err != nil || status != http.StatusOK {
		return 0, 0, fmt.Errorf("before it was called back a token got %d: %w", status, err)
	}
	time.Sleep(rand.N(300 * time.Millisecond)) // or commands fall in step with what nodes do regularly
	ended := make(chan error, 1)
	began := time.Now()
	var end time.Time
	go func() {
		err := here.tell("token", "revoke", "--id", id)
		end = time.Now()
		ended <- err
	}()
	var refused time.Time
	for refused.IsZero() {
		status, err := there.ask(c, token)
		switch {
		case err != nil:
			return 0, 0, err
		case status == http.StatusUnauthorized:
			refused = time.Now()
		case status != http.StatusOK || time.Since(began) > 20*time.Second:
			return 0, 0, fmt.Errorf("%d after %s", status, time.Since(began))
		}
		time.Sleep(time.Millisecond)
	}
	if err := <-ended; err != nil {
		return 0, 0, err
	}
	return refused.Sub(began), max(0, refused.Sub(end)), nil
}
