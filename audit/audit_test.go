package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

func open(t *testing.T, cfg Config) *Log {
	t.Helper()
	file, at, err := OpenFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return New(file, at, time.Now)
}

func TestChainGoesOnOverRestartsAndRotation(t *testing.T) {
	t.Parallel()
	cfg := Config{Directory: t.TempDir(), FileSize: 4 * unit.KiB, Keep: 100}
	for run := range 3 {
		log := open(t, cfg)
		for i := range 50 {
			if err := log.Record(gate.Event{ID: fmt.Sprintf("E%d-%d", run, i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Files(cfg.Directory)
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v: want several", files, err)
	}
	if err := verifyChain(t, cfg.Directory); err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	err = Read(cfg.Directory, func(e gate.Event) error {
		n++
		if e.Seq != n {
			return fmt.Errorf("entry %d stands at place %d", e.Seq, n)
		}
		return nil
	})
	if err != nil || n != 150 {
		t.Fatalf("read %d entries, %v; want 150", n, err)
	}
	for _, id := range []string{"E0-0", "E1-49", "E2-49"} {
		if e, err := Find(cfg.Directory, id); err != nil || e.ID != id {
			t.Errorf("find %s: %v, %v", id, e.ID, err)
		}
	}
	if _, err := Find(cfg.Directory, "E9-9"); !errors.Is(err, ErrNoEvent) {
		t.Errorf("find of an unknown id: %v", err)
	}
}

// K4: a flipped byte, a missing and a swapped line are found, and the first bad entry is named.
func TestVerifyNamesTheFirstBadEntry(t *testing.T) {
	t.Parallel()
	cfg := Config{Directory: t.TempDir()}
	log := open(t, cfg)
	for i := range 10 {
		if err := log.Record(gate.Event{ID: fmt.Sprint(i), Note: "note"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(cfg.Directory, "events.jsonl")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(strings.TrimSuffix(string(good), "\n"), "\n")
	for what, bad := range map[string]string{
		"changed": strings.Replace(string(good), `"id":"4","time"`, `"id":"x","time"`, 1),
		"missing": strings.Join(append(append([]string{}, all[:4]...), all[5:]...), ""),
		"swapped": strings.Join([]string{all[0], all[2], all[1], all[3]}, ""),
	} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := verifyChain(t, cfg.Directory); err == nil || !strings.Contains(err.Error(), "entr") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestALineCutShortByACrashIsRemoved(t *testing.T) {
	t.Parallel()
	cfg := Config{Directory: t.TempDir()}
	log := open(t, cfg)
	_ = log.Record(gate.Event{ID: "first"})
	_ = log.Close()
	name := filepath.Join(cfg.Directory, "events.jsonl")
	file, _ := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	_, _ = file.WriteString(`{"schema":"gatehouse.ev`)
	_ = file.Close()
	log = open(t, cfg)
	_ = log.Record(gate.Event{ID: "second"})
	_ = log.Close()
	if err := verifyChain(t, cfg.Directory); err != nil {
		t.Fatal(err)
	}
	if e, err := Find(cfg.Directory, "second"); err != nil || e.Seq != 2 {
		t.Fatalf("second entry: %+v, %v", e, err)
	}
}

func TestTwoProcessesNeverShareAFile(t *testing.T) {
	t.Parallel()
	cfg := Config{Directory: t.TempDir()}
	one, two := open(t, cfg), open(t, cfg)
	_ = one.Record(gate.Event{ID: "one"})
	_ = two.Record(gate.Event{ID: "two"})
	_, _ = one.Close(), two.Close()
	for _, id := range []string{"one", "two"} {
		if e, err := Find(cfg.Directory, id); err != nil || e.Seq != 1 {
			t.Errorf("%s: %+v, %v", id, e, err)
		}
	}
}

// brokenSink fails while broken is set.
type brokenSink struct {
	mu     sync.Mutex
	broken bool
	lines  []string
}

func (s *brokenSink) Write(lines []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("no space left on device")
	}
	s.lines = append(s.lines, strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n")...)
	return nil
}
func (s *brokenSink) Close() error { return nil }
func (s *brokenSink) set(broken bool) {
	s.mu.Lock()
	s.broken = broken
	s.mu.Unlock()
}

// K3: a sink that fails for two seconds is told to callers, and the chain has no gap when it recovers.
func TestAFailingSinkIsToldAndNothingIsLost(t *testing.T) {
	t.Parallel()
	sink := &brokenSink{broken: true}
	log := New(sink, Position{}, time.Now)
	if err := log.Record(gate.Event{ID: "1"}); err != nil {
		t.Fatalf("the queue takes an event although the file is slow: %v", err)
	}
	wait(t, "failing", func() bool { return log.Err() != nil })
	if err := log.Err(); !errors.Is(err, ErrFailing) || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("failing: %v: want the cause", err)
	}
	if err := log.Record(gate.Event{ID: "2"}); err != nil {
		t.Fatalf("record while failing, with room in the queue: %v", err)
	}
	sink.set(false)
	wait(t, "healthy", func() bool { return log.Err() == nil && log.Written() == 2 })
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if len(sink.lines) != 2 {
		t.Fatalf("%d lines written, want 2", len(sink.lines))
	}
}

func TestCloseDoesNotHangOnABrokenSink(t *testing.T) {
	t.Parallel()
	log := New(&brokenSink{broken: true}, Position{}, time.Now)
	_ = log.Record(gate.Event{})
	closed := make(chan struct{})
	for range 1000 {
		_ = log.Record(gate.Event{})
	}
	go func() {
		if err := log.Close(); !errors.Is(err, ErrFailing) || !strings.Contains(err.Error(), "1001 events are lost") {
			t.Errorf("close: %v: want the number of lost events", err)
		}
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("close hangs")
	}
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

// K1: whatever stands in an event stays on one line.
func FuzzOneLine(f *testing.F) {
	f.Add("\r\n{\"admin\":true}\u2028\x1b[31m")
	f.Fuzz(func(t *testing.T, s string) {
		line, _ := appendLines(nil, Position{}, []gate.Event{{ID: s, Note: s, Request: gate.Asked{Params: []gate.Param{{Name: s, Value: s}}}}})
		for i, b := range line[:len(line)-1] {
			if b < 0x20 {
				t.Fatalf("byte %#x at %d in %q", b, i, line)
			}
		}
		if strings.Contains(string(line), "\u2028") || line[len(line)-1] != '\n' {
			t.Fatalf("not one line: %q", line)
		}
	})
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, ""},
		{Config{OnFailure: "allow"}, "on_failure"},
		{Config{OnFailure: "allow", AcceptRisk: "lab"}, ""},
		{Config{OnFailure: "maybe"}, "on_failure"},
		{Config{FileSize: 10}, "file_size"},
		{Config{Keep: -1}, "keep"},
	} {
		err := c.cfg.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want a mistake at %q", c.cfg, err, c.want)
		}
	}
}

// Who reads while somebody writes sees whole events only.
func TestReadWhileItIsWritten(t *testing.T) {
	dir := t.TempDir()
	whole := `{"schema":"gatehouse.event/1","seq":1,"prev":"","id":"01M8263","time":"2026-11-22T17:23:16Z","kind":"system"}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(whole+`{"schema":"gateh`), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := Read(dir, func(gate.Event) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
	if _, err := Find(dir, "01M8263"); err != nil {
		t.Error(err)
	}
}

// verifyChain reads what is kept of the chains in a directory, without any checkpoint.
func verifyChain(t *testing.T, directory string) error {
	t.Helper()
	r, err := VerifyDirectory(t.Context(), directory, Options{Keep: -1})
	return errors.Join(err, r.Err())
}
