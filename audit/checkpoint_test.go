package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// pen is a Signer with its key in hand.
type pen struct{ key ed25519.PrivateKey }

func newPen(seed string) pen {
	return pen{ed25519.NewKeyFromSeed([]byte((seed + strings.Repeat(".", 32))[:32]))}
}

func (p pen) Public() ed25519.PublicKey           { return p.key.Public().(ed25519.PublicKey) }
func (p pen) Sign(message []byte) ([]byte, error) { return ed25519.Sign(p.key, message), nil }

func keysOf(p ...pen) (keys []ed25519.PublicKey) {
	for _, p := range p {
		keys = append(keys, p.Public())
	}
	return keys
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func sample() Checkpoint {
	return Checkpoint{Node: "a.example", Chain: "events", Number: 7, First: 3, Seq: 41, Hash: strings.Repeat("0f", 32), Time: noon}
}

func TestACheckpointIsReadAsItWasSigned(t *testing.T) {
	line, err := sample().Sign(newPen("a"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadCheckpoint(line, keysOf(newPen("b"), newPen("a"), newPen("a"))); err != nil || got != sample() {
		t.Errorf("%+v, %v", got, err)
	}
	for _, keys := range [][]ed25519.PublicKey{nil, keysOf(newPen("b"))} {
		if _, err := ReadCheckpoint(line, keys); !errors.Is(err, ErrNotSigned) {
			t.Errorf("%d keys: %v", len(keys), err)
		}
	}
}

// Every single bit of a checkpoint counts (K4).
func TestNoBitOfACheckpointCanChange(t *testing.T) {
	line, _ := sample().Sign(newPen("a"))
	keys := keysOf(newPen("a"))
	for i := range line {
		for bit := range 8 {
			other := bytes.Clone(line)
			other[i] ^= 1 << bit
			if c, err := ReadCheckpoint(other, keys); err == nil {
				t.Fatalf("byte %d, bit %d: read as %+v", i, bit, c)
			}
		}
	}
	for n := range line {
		if _, err := ReadCheckpoint(line[:n], keys); err == nil {
			t.Fatalf("%d bytes of it were read", n)
		}
	}
}

func TestWhatIsNoCheckpointIsNotSigned(t *testing.T) {
	for name, change := range map[string]func(*Checkpoint){
		"no node": func(c *Checkpoint) { c.Node = "" }, "a node of two lines": func(c *Checkpoint) { c.Node = "a\nseq 9" },
		"a long node": func(c *Checkpoint) { c.Node = strings.Repeat("a", 129) }, "no chain": func(c *Checkpoint) { c.Chain = "" },
		"no number": func(c *Checkpoint) { c.Number = 0 }, "ends before it begins": func(c *Checkpoint) { c.Seq = 2 },
		"no hash": func(c *Checkpoint) { c.Hash = "" }, "upper case": func(c *Checkpoint) { c.Hash = strings.Repeat("0F", 32) },
	} {
		c := sample()
		change(&c)
		if line, err := c.Sign(newPen("a")); err == nil {
			t.Errorf("%s: signed: %s", name, line)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	line, _ := sample().Sign(newPen("a"))
	f.Add(line)
	f.Add([]byte(`{"checkpoint":""}`))
	f.Add([]byte(`{"checkpoint":"gatehouse.checkpoint/1\n\n— gatehouse-audit AAAA\n"}`))
	keys := keysOf(newPen("a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ReadCheckpoint(data, keys); err == nil {
			again, err := c.Sign(newPen("a"))
			if err != nil || !bytes.Equal(again, data) {
				t.Errorf("%q reads as %+v, which is written %q", data, c, again)
			}
		}
		if c, err := unverified(data); err == nil && c.check() != nil {
			t.Errorf("%q reads as %+v", data, c)
		}
		if c, err := parseText(string(data)); err == nil && c.text() != string(data) {
			t.Errorf("%q is also written %q", data, c.text())
		}
	})
}

// signedLog is a log with a Checkpointer, in a directory of its own.
type signedLog struct {
	*Log
	*Checkpointer
	cfg   Config
	kept  [][]byte // what was told
	found []error
}

func newSignedLog(t *testing.T, cfg Config) *signedLog {
	t.Helper()
	s := &signedLog{cfg: cfg, Log: open(t, cfg)}
	var err error
	s.Checkpointer, err = NewCheckpointer(s.Log, cfg, Signing{
		Node: "a", Signer: newPen("a"), Now: func() time.Time { return noon },
		Told:    func(_ Checkpoint, line []byte) { s.kept = append(s.kept, line) },
		Problem: func(err error) { s.found = append(s.found, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Log.Close() })
	return s
}

// write adds n events and waits until they are written.
func (s *signedLog) write(t *testing.T, n int) {
	t.Helper()
	want := s.Log.Written() + uint64(n)
	for range n {
		if err := s.Log.Record(gate.Event{ID: "E", Time: noon, Kind: gate.KindSystem, Note: strings.Repeat("n", 40)}); err != nil {
			t.Fatal(err)
		}
	}
	for limit := time.Now().Add(5 * time.Second); s.Log.Written() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the log does not write")
		}
	}
}

func (s *signedLog) sign(t *testing.T) Checkpoint {
	t.Helper()
	c, err := s.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestALogIsSignedWhenItHasMoved(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "witness")
	s := newSignedLog(t, Config{Directory: t.TempDir(), CheckpointTo: []Place{{file: outside}}})
	if c := s.sign(t); c != (Checkpoint{}) {
		t.Errorf("an empty log was signed: %+v", c)
	}
	s.write(t, 5)
	first := s.sign(t)
	if again := s.sign(t); again != (Checkpoint{}) {
		t.Errorf("signed without need: %+v", again)
	}
	s.write(t, 2)
	if err := s.Log.Close(); err != nil {
		t.Fatal(err)
	}
	last := s.sign(t)
	if first.Number != 1 || first.Seq != 5 || last.Number != 2 || last.Seq != 7 || last.First != 1 {
		t.Errorf("%+v, then %+v", first, last)
	}
	beside, _ := os.ReadFile(filepath.Join(s.cfg.Directory, "events.checkpoints"))
	kept, _ := os.ReadFile(outside)
	if told := append(bytes.Join(s.kept, []byte("\n")), '\n'); !bytes.Equal(beside, told) || !bytes.Equal(kept, told) {
		t.Errorf("beside the log:\n%soutside:\n%stold:\n%s", beside, kept, told)
	}

	next := newSignedLog(t, s.cfg)
	next.write(t, 1)
	if c := next.sign(t); c.Number != 3 || c.Seq != 8 {
		t.Errorf("after a restart: %+v", c)
	}
}

// A place outside that cannot be written is told and does not hold up the rest.
func TestAWitnessThatCannotBeReached(t *testing.T) {
	s := newSignedLog(t, Config{Directory: t.TempDir(), CheckpointTo: []Place{{file: filepath.Join(t.TempDir(), "gone", "w")}}})
	s.write(t, 1)
	if c := s.sign(t); c.Seq != 1 || len(s.found) != 1 {
		t.Errorf("%+v, %v", c, s.found)
	}
}

func TestHalfACheckpointIsRemoved(t *testing.T) {
	s := newSignedLog(t, Config{Directory: t.TempDir()})
	s.write(t, 1)
	s.sign(t)
	name := filepath.Join(s.cfg.Directory, "events.checkpoints")
	whole, _ := os.ReadFile(name)
	if err := os.WriteFile(name, append(bytes.Clone(whole), whole[:40]...), 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(t, 1)
	if c := s.sign(t); c.Number != 2 {
		t.Errorf("%+v", c)
	}
	r, err := VerifyDirectory(t.Context(), s.cfg.Directory, Options{Keys: keysOf(newPen("a"))})
	if err != nil || !r.OK || r.Chains[0].Checked != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A log that was cut off while the gateway was down is found at the start, by a checkpoint kept elsewhere (K4).
func TestAStartFindsALogThatWasSetBack(t *testing.T) {
	s := newSignedLog(t, Config{Directory: t.TempDir()})
	s.write(t, 5)
	s.sign(t)
	_ = s.Log.Close()
	name := filepath.Join(s.cfg.Directory, "events.jsonl")
	data, _ := os.ReadFile(name)
	lines := bytes.SplitAfter(data, []byte("\n"))
	if err := os.WriteFile(name, bytes.Join(lines[:3], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	next := newSignedLog(t, s.cfg)
	var bad *Bad
	if err := next.Begin(); !errors.As(err, &bad) || bad.Kind != RolledBack || bad.Seq != 3 {
		t.Errorf("beside the log: %v", err)
	}
	if err := os.Remove(filepath.Join(s.cfg.Directory, "events.checkpoints")); err != nil {
		t.Fatal(err)
	}
	if err := next.Begin(); err != nil {
		t.Errorf("without a witness nothing can be seen: %v", err)
	}
	if err := next.Begin(s.kept...); !errors.As(err, &bad) {
		t.Errorf("by the witness: %v", err)
	}
}

func TestCheckpointsAreShortened(t *testing.T) {
	name := filepath.Join(t.TempDir(), "events.checkpoints")
	var all bytes.Buffer
	for i := range few + 100 {
		c := sample()
		c.Number = uint64(i + 1)
		line, _ := c.Sign(newPen("a"))
		all.Write(append(line, '\n'))
	}
	if err := os.WriteFile(name, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := openLocked(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := shorten(file, name); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(name)
	if !bytes.HasSuffix(all.Bytes(), got) || bytes.Count(got, []byte("\n")) != few {
		t.Errorf("%d lines are left", bytes.Count(got, []byte("\n")))
	}
}

func TestPlacesOfCheckpoints(t *testing.T) {
	for name, c := range map[string]Config{
		"stdout":        {CheckpointTo: []Place{{stdout: true}}},
		"twice":         {CheckpointTo: []Place{{file: "/w"}, {file: "/w"}}},
		"with events":   {CheckpointTo: []Place{{file: "/w"}}, Also: []Place{{file: "/w"}}},
		"beside events": {Directory: "/e", CheckpointTo: []Place{{file: "/e/w"}}},
	} {
		if c.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := (Config{Directory: "/e", FileSize: unit.MiB, CheckpointTo: []Place{{file: "/w"}}}).Check(); err != nil {
		t.Error(err)
	}
}
