package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// hungSink takes nothing and does not say so, as a file system does whose server is gone.
type hungSink struct{ release chan struct{} }

func (s hungSink) Write([]byte) error { <-s.release; return nil }
func (s hungSink) Close() error       { return nil }

// K3: a sink that hangs is told within two seconds, holds up nobody, and does not hold up the end of the process.
func TestAHungSinkIsToldAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	sink := hungSink{make(chan struct{})}
	defer close(sink.release)
	log := New(sink, Position{}, time.Now)
	_ = log.Record(gate.Event{})
	wait(t, "failing", func() bool { return log.Err() != nil })
	for log.Waiting() < queued {
		if !log.Offer(gate.Event{}) {
			t.Fatal("the queue takes no event although it has room")
		}
	}
	began := time.Now()
	if err := log.Record(gate.Event{}); !errors.Is(err, ErrFailing) {
		t.Errorf("record into a full queue: %v", err)
	}
	if log.Offer(gate.Event{}) {
		t.Error("offer to a full queue was taken")
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("record waits %v although the log is failing", took)
	}
	if err := log.Change(func(old Sink, at Position) (Sink, Position) { return old, at }); !errors.Is(err, ErrFailing) {
		t.Errorf("change: %v", err)
	}
	if err := log.Close(); !errors.Is(err, ErrFailing) {
		t.Errorf("close: %v", err)
	}
	if err := log.Record(gate.Event{}); !errors.Is(err, ErrClosed) {
		t.Errorf("record after close: %v", err)
	}
}

// slowSink writes, but slower than events come.
type slowSink struct{ brokenSink }

func (s *slowSink) Write(lines []byte) error {
	time.Sleep(20 * time.Millisecond)
	return s.brokenSink.Write(lines)
}

// A slow sink slows callers down and loses nothing.
func TestASlowSinkLosesNothing(t *testing.T) {
	t.Parallel()
	sink := &slowSink{}
	log := New(sink, Position{}, time.Now)
	const n = queued + 1000
	for i := range n {
		if err := log.Record(gate.Event{ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if len(sink.lines) != n {
		t.Fatalf("%d lines written, want %d", len(sink.lines), n)
	}
}

// A full device beside the files: no line is written twice, and a change of the section ends the failure without a gap.
func TestChangeOfSinksWhileOneFails(t *testing.T) {
	t.Parallel()
	cfg := Config{Directory: t.TempDir(), Also: []Place{{file: "/dev/full"}}}
	sinks, at, err := Open(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := New(sinks, at, time.Now)
	record := func(n int) {
		for i := range n {
			if err := log.Record(gate.Event{ID: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	record(100)
	wait(t, "failing", func() bool { return log.Err() != nil })
	if !strings.Contains(log.Err().Error(), "no space left") {
		t.Errorf("cause: %v", log.Err())
	}
	var out bytes.Buffer
	sinks.stdout = &out
	next, change, err := sinks.Change(Config{Directory: cfg.Directory, Also: []Place{{stdout: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Change(change); err != nil {
		t.Fatal(err)
	}
	wait(t, "healthy", func() bool { return log.Err() == nil && log.Written() == 100 })
	other := Config{Directory: filepath.Join(t.TempDir(), "new"), Also: []Place{{stdout: true}}}
	if _, change, err = next.Change(other); err == nil {
		err = log.Change(change)
	}
	if err != nil {
		t.Fatal(err)
	}
	record(10)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for directory, want := range map[string]int{cfg.Directory: 100, other.Directory: 10} {
		n := 0
		_ = Read(directory, func(e gate.Event) error {
			if n++; e.Seq != uint64(n) {
				t.Errorf("%s: entry %d at place %d", directory, e.Seq, n)
			}
			return nil
		})
		err := verifyChain(t, directory)
		if n != want || err != nil {
			t.Errorf("%s: %d events, %v; want %d", directory, n, err, want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n < 110 {
		t.Errorf("%d lines on standard output, want 110", n)
	}
}

func TestAChangeThatCannotBeMadeChangesNothing(t *testing.T) {
	t.Parallel()
	cfg := Config{Directory: t.TempDir()}
	sinks, at, err := Open(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := New(sinks, at, time.Now)
	for _, wrong := range []Config{
		{Directory: "/dev/null/events"},
		{Directory: cfg.Directory, Also: []Place{{file: "/nowhere/at/all"}}},
		{Directory: t.TempDir(), Also: []Place{{stdout: true}}}, // there is none
	} {
		if _, _, err := sinks.Change(wrong); err == nil {
			t.Errorf("%+v: no error", wrong)
		}
	}
	_ = log.Record(gate.Event{ID: "still here"})
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(cfg.Directory, "still here"); err != nil {
		t.Error(err)
	}
}

// K3: a closed descriptor, a file that was deleted and one that was moved away: the log goes on in a file that can be found.
func TestTheFileGoesAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(f *File){
		"closed":             func(f *File) { _ = f.file.Close() },
		"deleted":            func(f *File) { _ = os.Remove(f.path()) },
		"moved":              func(f *File) { _ = os.Rename(f.path(), f.path()+".moved") },
		"with its directory": func(f *File) { _ = os.RemoveAll(f.cfg.Directory) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Directory: filepath.Join(t.TempDir(), "events")}
			file, at, err := OpenFile(cfg)
			if err != nil {
				t.Fatal(err)
			}
			log := New(file, at, time.Now)
			_ = log.Record(gate.Event{ID: "before"})
			wait(t, "written", func() bool { return log.Written() == 1 })
			away(file)
			_ = log.Record(gate.Event{ID: "after"})
			wait(t, "written", func() bool { return log.Written() == 2 })
			if e, err := Find(cfg.Directory, "after"); err != nil || e.Seq != 2 {
				t.Errorf("after: %+v, %v", e, err)
			}
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// H17: however many events come, the log and what is beside it stay within their bounds.
func TestDiskIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{Directory: filepath.Join(dir, "events"), FileSize: 64 * unit.KiB, Keep: 3, Also: []Place{{file: filepath.Join(dir, "also.jsonl")}}}
	sinks, at, err := Open(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := New(sinks, at, time.Now)
	for range 5000 {
		if err := log.Record(gate.Event{Note: strings.Repeat("x", 500)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	var total int64
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return err
	})
	if most := int64(2 * 4 * 64 << 10); total > most || total < most/2 {
		t.Errorf("%d bytes on disk, want at most %d", total, most)
	}
	files, err := Files(cfg.Directory)
	if err == nil {
		err = verifyChain(t, cfg.Directory)
	}
	if err != nil || len(files) != 4 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func TestPlaceText(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{"stdout": true, "file:/var/log/x": true, "": false, "file:": false, "file:x": false, "/x": false, "stderr": false} {
		var p Place
		err := p.UnmarshalText([]byte(text))
		if (err == nil) != good || good && p.String() != text {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}
