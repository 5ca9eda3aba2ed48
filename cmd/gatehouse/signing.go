package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/store"
)

// checkpointPrefix is where the newest checkpoint of each chain of events lies, as checkpoint/NODE/CHAIN: whoever sets log and
// checkpoints back together would have to set the store back as well (row K4).
const checkpointPrefix = "checkpoint/"

// keepTime bounds how long the store may take to keep a checkpoint. No event waits for it.
const keepTime = 5 * time.Second

// signing has the event log signed every minute, and at the end.
type signing struct {
	n            *node
	name         string // whose log the checkpoints say that it is
	checkpointer *audit.Checkpointer
	newest       chan signedLine // what the store has not been told yet; one place, the newest goes in

	mu     sync.Mutex
	failed string // told last
}

// signedLine is a checkpoint, as it is kept in the store.
type signedLine struct {
	chain string
	line  []byte
}

// sign begins to sign the log that was opened. What it finds wrong is told and changes nothing: requests must not depend on
// somebody having been at an old file.
func (n *node) sign(cfg audit.Config) error {
	h := n.held
	ctx, end := context.WithTimeout(context.Background(), keepTime)
	defer end()
	if err := h.keepEventKeys(ctx); err != nil {
		return fmt.Errorf("keep the key that signs the event log: %w", err)
	}
	pen, err := newPen(h.ring)
	if err != nil {
		return err
	}
	kept, err := h.checkpointsOf(ctx, h.document.fleet.Name)
	if err != nil {
		return err
	}
	s := &signing{n: n, newest: make(chan signedLine, 1)}
	if s.name, err = h.signedAs(ctx, cfg.Directory); err != nil {
		return err
	}
	s.checkpointer, err = audit.NewCheckpointer(n.written.log.Load(), cfg, audit.Signing{
		Node: s.name, Signer: pen, Now: n.now, Told: s.told, Problem: s.problem,
	})
	if err != nil {
		return err
	}
	n.written.signing = s
	if err := s.checkpointer.Begin(kept...); err != nil {
		s.problem(err)
	}
	return nil
}

// checkpointsOf are the newest checkpoints that the store has of a node's chains, or of all nodes for "".
func (h *held) checkpointsOf(ctx context.Context, node string) (lines [][]byte, err error) {
	prefix := checkpointPrefix
	if node != "" {
		prefix += node + "/"
	}
	for after := ""; ; {
		page, err := h.durable.List(ctx, prefix, after, 256)
		if err != nil {
			return nil, fmt.Errorf("checkpoints in the store: %w", err)
		}
		for _, r := range page {
			if after = r.Key; r.Key != checkpointKeys {
				lines = append(lines, r.Value)
			}
		}
		if len(page) < 256 {
			return lines, nil
		}
	}
}

// signedAs is whose log the one in a directory is. A log keeps the name under which it began, also when the machine that
// writes it is called otherwise by now, or when it was restored on another.
func (h *held) signedAs(ctx context.Context, directory string) (string, error) {
	name := h.document.fleet.Name
	keys, err := h.eventKeys(ctx)
	if err != nil {
		return "", err
	}
	lines, err := h.checkpointsOf(ctx, name)
	if err != nil {
		return "", err
	}
	for _, line := range append(lines, lastLines(directory)...) {
		if c, err := audit.ReadCheckpoint(line, keys); err == nil {
			return c.Node, nil
		}
	}
	return name, nil
}

// lastLines are the newest checkpoints beside the event files of a directory, one of each chain.
func lastLines(directory string) (lines [][]byte) {
	files, _ := filepath.Glob(filepath.Join(directory, "*.checkpoints"))
	for _, file := range files {
		data, err := tail(file, 8<<10)
		if err != nil {
			continue
		}
		data = bytes.TrimRight(data[:bytes.LastIndexByte(data, '\n')+1], "\n")
		if line := data[bytes.LastIndexByte(data, '\n')+1:]; len(line) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// tail reads at most the last n bytes of a file.
func tail(name string, n int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(n, info.Size()))
	_, err = file.ReadAt(data, info.Size()-int64(len(data)))
	return data, err
}

// told has the store keep a checkpoint, without waiting for it.
func (s *signing) told(c audit.Checkpoint, line []byte) {
	select {
	case <-s.newest: // a newer one is there
	default:
	}
	s.newest <- signedLine{c.Chain, bytes.Clone(line)} // the only one who sends
}

func (s *signing) keep(ctx context.Context, l signedLine) {
	ctx, end := context.WithTimeout(ctx, keepTime)
	defer end()
	record := checkpointPrefix + s.n.held.document.fleet.Name + "/" + l.chain
	if _, err := s.n.held.durable.Write(ctx, store.Write{Key: record, Value: l.line, Version: store.Any}); err != nil {
		s.n.log.Warn("the store can't keep where the event log stands; the checkpoint lies beside the log only", "error", err)
	}
}

// problem tells what could not be signed, or that somebody was at the log; each once, until something else is wrong.
func (s *signing) problem(err error) {
	s.mu.Lock()
	again := s.failed == err.Error()
	s.failed = err.Error()
	s.mu.Unlock()
	if again {
		return
	}
	reason := gate.Reason("audit.unsigned")
	var bad *audit.Bad
	if errors.As(err, &bad) {
		reason = "audit.tampered"
	}
	s.n.log.Error("event log", "error", err, "look", "gatehouse audit verify")
	s.n.system(reason, strings.TrimSpace(err.Error()))
}

// run signs and keeps until ctx ends.
func (s *signing) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.checkpointer.Run(ctx) })
	all.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case l := <-s.newest:
				s.keep(ctx, l)
			}
		}
	})
	all.Wait()
}

// now signs where the log stands.
func (s *signing) now() {
	if _, err := s.checkpointer.Checkpoint(); err != nil {
		s.problem(err)
	}
}

// end signs the end of a log that is closed.
func (s *signing) end() {
	s.now()
	select {
	case l := <-s.newest:
		s.keep(context.Background(), l)
	default:
	}
}
