package firewall

import (
	"errors"
	"sync"
)

// Ask sends every request to every server, to each one after the other, and gives the statuses by request and server.
func Ask(servers []*Server, requests []Request) ([][]int, error) {
	said := make([][]int, len(requests))
	for i := range said {
		said[i] = make([]int, len(servers))
	}
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for k, s := range servers {
		all.Go(func() {
			c := s.Conn()
			defer c.Close()
			for i, r := range requests {
				if said[i][k], errs[k] = c.Send(r.Bytes()); errs[k] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return said, errors.Join(errs...)
}
