package main

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// limited offers three times what a caller may have, for fifteen seconds, to one gateway and to three that share the limit,
// evenly and not, and compares what is admitted.
func (f *field) limited(w io.Writer, s *servers) error {
	const rate, burst, seconds = 100, 200, 15
	section := fmt.Sprintf("per_address: 1000000/s burst 1000000, per_caller: %d/s burst %d", rate, burst)
	alone, err := f.nodes(1, remembered{}, section)
	if err != nil {
		return err
	}
	defer stopAll(alone)
	shared, err := f.nodes(3, s.both(), section)
	if err != nil {
		return err
	}
	defer stopAll(shared)
	fmt.Fprintf(w, "\n| %d/s burst %d, %d/s offered for %d s | admitted | x one | goal |\n|---|---|---|---|\n", rate, burst, 3*rate, seconds)
	one := 0
	for i, c := range []struct {
		name  string
		nodes []*node
		parts []float64
	}{
		{"one, in memory", alone, []float64{1}},
		{"three over Redis, evenly", shared, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"three over Redis, 8 to 1 to 1", shared, []float64{0.8, 0.1, 0.1}},
	} {
		token, err := f.issuer.token(fmt.Sprintf("limited-%d", i), fmt.Sprintf("limited-%d", i))
		if err != nil {
			return err
		}
		admitted, err := offer(c.nodes, c.parts, token, 3*rate, seconds*time.Second)
		if err != nil {
			return err
		}
		if i == 0 {
			one = admitted
		}
		fmt.Fprintf(w, "| %s | %d | %.3f | 0.98 to 1.02 |\n", c.name, admitted, float64(admitted)/float64(one))
	}
	return nil
}

// offer sends requests of one caller to several gateways at once and counts those that were served.
func offer(list []*node, parts []float64, token string, rate float64, d time.Duration) (admitted int, err error) {
	outcomes := make([]felt, len(list))
	var all sync.WaitGroup
	for i, n := range list {
		all.Go(func() { outcomes[i] = paced{n, token, rate * parts[i]}.send(d) })
	}
	all.Wait()
	for _, o := range outcomes {
		admitted += o.statuses[http.StatusOK]
		if other := len(o.times) - o.statuses[http.StatusOK] - o.statuses[http.StatusTooManyRequests]; other > 0 {
			return 0, fmt.Errorf("%d answers were neither 200 nor 429: %v", other, o.statuses)
		}
	}
	return admitted, nil
}
