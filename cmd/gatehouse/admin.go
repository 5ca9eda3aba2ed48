package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// bindAdmin serves health, readiness and metrics, apart from everything that clients reach.
func (n *node) bindAdmin(address string) (*http.Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for health and metrics: %w; change listen.admin", err)
	}
	admin := &http.Server{
		Addr: listener.Addr().String(), Handler: n.health(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	go func() { _ = admin.Serve(listener) }() // ends with Close
	return admin, nil
}

func (n *node) health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := n.healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
		for _, s := range n.kept.keys.Statuses() { // an issuer that is away must not take every node out of service
			if s.Failure != nil {
				fmt.Fprintf(w, "keys of %s: %d usable, last fetch: %v\n", s.Issuer, s.Keys, s.Failure)
			}
		}
	})
	mux.Handle("GET /metrics", n.metrics.Handler())
	return mux
}

// healthy tells why the node should get no requests now, or nil.
func (n *node) healthy() error {
	if !n.ready.Load() {
		return errors.New("starting or draining")
	}
	return n.Err()
}
