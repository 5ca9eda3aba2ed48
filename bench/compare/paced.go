package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// paced sends requests at a steady pace, however long answers take. What it finds is one's latency as callers feel it:
// each request's time counts from when it was due.
type paced struct {
	node  *node
	token string
	rate  float64 // requests a second
}

// felt is what came of it.
type felt struct {
	times    []time.Duration // sorted
	statuses map[int]int     // 0: no answer
}

// at gives a percentile of the times.
func (f felt) at(percent float64) time.Duration {
	return f.times[min(len(f.times)-1, int(float64(len(f.times))*percent/100))]
}

// wrong counts what wasn't answered with 200.
func (f felt) wrong() int { return len(f.times) - f.statuses[http.StatusOK] }

// add takes in what came of another run.
func (f *felt) add(other felt) {
	f.times = slices.Sorted(slices.Values(append(f.times, other.times...)))
	if f.statuses == nil {
		f.statuses = map[int]int{}
	}
	for status, n := range other.statuses {
		f.statuses[status] += n
	}
}

// String gives the middle, the hundredth that waited longest, and the one that did.
func (f felt) String() string {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	return fmt.Sprintf("%.2f, %.1f, %.0f ms", ms(f.at(50)), ms(f.at(99)), ms(f.at(100)))
}

// send sends for so long.
func (p paced) send(d time.Duration) felt {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.until(ctx)
}

// until sends until ctx ends. Sixteen connections take turns.
func (p paced) until(ctx context.Context) felt {
	const workers = 16
	var (
		mu  sync.Mutex
		all sync.WaitGroup
	)
	out := felt{statuses: map[int]int{}}
	c, began := client(), time.Now()
	pause := time.Duration(float64(time.Second) / p.rate)
	for w := range workers {
		all.Go(func() {
			for i := w; ; i += workers {
				due := began.Add(time.Duration(i) * pause)
				time.Sleep(time.Until(due))
				if ctx.Err() != nil {
					return
				}
				status, err := p.node.ask(c, p.token)
				took := time.Since(due)
				if err != nil {
					status = 0
				}
				mu.Lock()
				out.times = append(out.times, took)
				out.statuses[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	c.CloseIdleConnections()
	slices.Sort(out.times)
	return out
}

func drain(body io.ReadCloser) error {
	_, err := io.Copy(io.Discard, body)
	if closing := body.Close(); err == nil {
		err = closing
	}
	return err
}
