package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// brokenPrefix is where checkpoints lie that the log did not bear out when a gateway began to write to it, each as
// checkpoint/broken/NODE/CHAIN/SEQ-HASH: the next checkpoint takes the place of the newest, and must not take the proof with it.
const brokenPrefix = checkpointPrefix + "broken/"

// brokenWitness is such a checkpoint. It stays until somebody settles it.
type brokenWitness struct {
	Node   string    `json:"node"`
	Chain  string    `json:"chain"`
	Seq    uint64    `json:"seq"`    // the entry that was signed
	Signed time.Time `json:"signed"` // when
	Found  time.Time `json:"found"`  // when the log was found not to have it

	line   []byte // the checkpoint itself
	record store.Record
}

func (b brokenWitness) String() string {
	return fmt.Sprintf("since %s the event log of %s lacks what was signed: its entry %d in %s, signed at %s, isn't there as it was",
		b.Found.Format(time.RFC3339), b.Node, b.Seq, b.Chain, b.Signed.Format(time.RFC3339))
}

// brokenRecord is how it is kept.
type brokenRecord struct {
	Found time.Time `json:"found"`
	Line  string    `json:"line"`
}

// keepTime bounds how long the store may take to keep a checkpoint. No event waits for it.
const keepTime = 5 * time.Second

// signing has the event log signed every minute, and at the end.
type signing struct {
	n            *node
	name         string // whose log the checkpoints say that it is
	checkpointer *audit.Checkpointer
	newest       chan signedLine // what the store has not been told yet; one place, the newest goes in

	mu     sync.Mutex
	failed string        // told last
	broken []store.Write // witnesses against this log that the store has not taken yet
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
	found := s.checkpointer.Begin(kept...)
	bad, err := s.contradicted(ctx, kept)
	if err = errors.Join(err, s.keepBroken(ctx)); err != nil {
		n.log.Warn("what shows that somebody was at the event log is not kept yet", "error", err)
	}
	if found == nil && bad != nil {
		found = bad
	}
	if found != nil {
		s.problem(found)
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
			if after = r.Key; r.Key != checkpointKeys && !isBroken(r.Key) {
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
	if err := s.keepBroken(ctx); err != nil { // else the proof would go
		s.n.log.Warn("the store can't keep what shows that somebody was at the event log", "error", err)
		return
	}
	record := checkpointPrefix + s.n.held.document.fleet.Name + "/" + l.chain
	if _, err := s.n.held.durable.Write(ctx, store.Write{Key: record, Value: l.line, Version: store.Any}); err != nil {
		s.n.log.Warn("the store can't keep where the event log stands; the checkpoint lies beside the log only", "error", err)
	}
}

// contradicted looks which checkpoints of the store the log does not bear out, and has them kept; the error names one, as a
// *audit.Bad, when there are some.
func (s *signing) contradicted(ctx context.Context, kept [][]byte) (found, err error) {
	keys, err := s.n.held.eventKeys(ctx)
	if err != nil {
		return nil, err
	}
	at := s.n.written.log.Load().At()
	if at.Directory == "" {
		return nil, nil
	}
	for _, line := range kept {
		c, problem := audit.ReadCheckpoint(line, keys)
		if problem != nil || c.Node != s.name || c.Chain != at.Chain {
			continue
		}
		has, problem := hasEntry(at, c)
		if err = errors.Join(err, problem); has || problem != nil {
			continue
		}
		value, problem := json.Marshal(brokenRecord{s.n.now().UTC().Truncate(time.Second), string(line)})
		if problem != nil {
			return found, problem
		}
		key := fmt.Sprintf("%s%s/%s/%d-%s", brokenPrefix, c.Node, c.Chain, c.Seq, c.Hash[:12])
		s.mu.Lock()
		s.broken = append(s.broken, store.Write{Key: key, Value: value})
		s.mu.Unlock()
		found = &audit.Bad{Kind: audit.RolledBack, File: c.Chain + ".jsonl", Seq: c.Seq,
			What: fmt.Sprintf("entry %d was signed at %s, and the log does not have it as it was", c.Seq, c.Time.Format(time.RFC3339))}
	}
	return found, err
}

// hasEntry tells whether a log has the entry that was signed, or has rotated it away. It seldom reads: a log that was ended
// in order stands where it was signed last.
func hasEntry(at audit.Standing, c audit.Checkpoint) (bool, error) {
	if c.Seq >= at.Seq {
		return c.Seq == at.Seq && c.Hash == at.Hash, nil
	}
	stem := filepath.Join(at.Directory, at.Chain)
	files, _ := filepath.Glob(stem + "-*.jsonl") // each with the number of its first entry, the oldest first
	within, known := stem+".jsonl", len(files) == 0
	for i := len(files) - 1; i >= 0 && !known; i-- {
		var first uint64
		_, err := fmt.Sscanf(strings.TrimPrefix(files[i], stem), "-%d.jsonl", &first)
		if err != nil {
			return false, fmt.Errorf("%s: its name does not say with which entry it begins", files[i])
		}
		if known = first <= c.Seq; known {
			within = files[i]
		}
	}
	if !known {
		return true, nil // what is left can't tell
	}
	names := []string{within}
	if within != stem+".jsonl" {
		names = append(names, stem+".jsonl") // which the newest closed file may precede
	}
	for _, name := range names {
		if has, err := hasLine(name, c.Hash); has || err != nil && !errors.Is(err, os.ErrNotExist) {
			return has, err
		}
	}
	return false, nil
}

// hasLine tells whether a file has a line with a hash.
func hasLine(name, hash string) (bool, error) {
	file, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if sum := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n"))); hex.EncodeToString(sum[:]) == hash {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// keepBroken has the store take the witnesses against this log. One that is there stays as it is.
func (s *signing) keepBroken(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.broken) > 0 {
		if _, err := s.n.held.durable.Write(ctx, s.broken[0]); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
		s.broken = s.broken[1:]
	}
	return nil
}

// isBroken tells a witness that was set aside from the newest of a node that is called broken.
func isBroken(key string) bool {
	return strings.HasPrefix(key, brokenPrefix) && strings.Count(key, "/") >= 4
}

// brokenWitnesses are those that nobody has settled, of all nodes.
func (h *held) brokenWitnesses(ctx context.Context) (all []brokenWitness, err error) {
	for after := ""; ; {
		page, err := h.durable.List(ctx, brokenPrefix, after, 256)
		if err != nil {
			return nil, fmt.Errorf("witnesses in the store: %w", err)
		}
		for _, r := range page {
			if after = r.Key; !isBroken(r.Key) {
				continue
			}
			parts := strings.Split(strings.TrimPrefix(r.Key, brokenPrefix), "/")
			b := brokenWitness{Node: strings.Join(parts[:len(parts)-2], "/"), Chain: parts[len(parts)-2], record: r}
			_, _ = fmt.Sscanf(parts[len(parts)-1], "%d-", &b.Seq)
			var kept brokenRecord
			if json.Unmarshal(r.Value, &kept) == nil { // else it still tells that there is one
				b.Found, b.line = kept.Found, []byte(kept.Line)
			}
			if keys, err := h.eventKeys(ctx); err == nil {
				if c, err := audit.ReadCheckpoint(b.line, keys); err == nil {
					b.Signed = c.Time
				}
			}
			all = append(all, b)
		}
		if len(page) < 256 {
			return all, nil
		}
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
