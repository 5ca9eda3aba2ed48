package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// settling is how long requests that were cut off may take to write that down.
const settling = 2 * time.Second

// oneStop is how close together signals mean one stop: some senders signal a process and its group, which is twice.
const oneStop = 100 * time.Millisecond

// drain ends the service so that nobody loses an answer (row I16): first readiness is taken back, then no connection is
// taken any more, clients are told to go, and requests in progress end within grace. A second signal ends the waiting.
func (n *node) drain(grace time.Duration) error {
	n.ready.Store(false)
	notify(daemon.SdNotifyStopping)
	n.system("gateway.draining", fmt.Sprintf("%d requests in progress", n.busy.Load()))
	waiting, enough := context.WithTimeout(context.Background(), grace)
	defer enough()
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	began := time.Now()
	go func() {
		for {
			select {
			case <-again:
				if time.Since(began) > oneStop {
					enough()
				}
			case <-waiting.Done():
				return
			}
		}
	}()
	n.kept.streams.Begin(time.Now().Add(grace))
	err := n.server.Drain(waiting)
	for end := time.Now().Add(settling); n.busy.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("stopped after %s: what was still in progress was cut off", grace)
	case errors.Is(err, context.Canceled):
		return errors.New("stopped at once by a second signal: what was still in progress was cut off")
	}
	return err
}

// notify tells the service manager how the process does, where there is one.
func notify(states ...string) {
	for _, s := range states {
		_, _ = daemon.SdNotify(false, s) // nobody listens outside systemd
	}
}
