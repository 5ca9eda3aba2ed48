package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// tampered is a copy of a signed log that somebody changes.
type tampered struct {
	t         *testing.T
	directory string
}

func (d tampered) path(name string) string { return filepath.Join(d.directory, name) }

func (d tampered) read(name string) []byte {
	d.t.Helper()
	data, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return data
}

func (d tampered) write(name string, data []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), data, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d tampered) remove(name string) {
	d.t.Helper()
	if err := os.Remove(d.path(name)); err != nil {
		d.t.Fatal(err)
	}
}

// lines gives the lines of a file to change and writes them back.
func (d tampered) lines(name string, change func([][]byte) [][]byte) {
	lines := bytes.SplitAfter(d.read(name), []byte("\n"))
	d.write(name, bytes.Join(change(lines[:len(lines)-1]), nil))
}

// written is a log of 40 entries in several files, signed at entries 10, 20, 30 and 40, and what a witness was told.
func written(t *testing.T) (string, [][]byte) {
	t.Helper()
	s := newSignedLog(t, Config{Directory: t.TempDir(), FileSize: 4 * unit.KiB, Keep: 100})
	for range 4 {
		s.write(t, 10)
		s.sign(t)
	}
	if err := s.Log.Close(); err != nil {
		t.Fatal(err)
	}
	return s.cfg.Directory, s.kept
}

func copyOf(t *testing.T, directory string) tampered {
	t.Helper()
	d := tampered{t, t.TempDir()}
	if err := os.CopyFS(d.directory, os.DirFS(directory)); err != nil {
		t.Fatal(err)
	}
	return d
}

func eventFiles(t *testing.T, directory string) []string {
	t.Helper()
	names, err := Files(directory)
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names
}

// What is done to a log, and what is said of it (K4).
func TestTampering(t *testing.T) {
	original, witness := written(t)
	names := eventFiles(t, original)
	if len(names) < 3 {
		t.Fatalf("only %v", names)
	}
	mid, open := names[1], "events.jsonl"
	var first uint64
	if _, err := fmt.Sscanf(mid, "events-%d.jsonl", &first); err != nil {
		t.Fatal(err)
	}
	second := first + uint64(bytes.Count(tampered{t, original}.read(mid), []byte("\n"))) // first of the file after
	older := copyOf(t, original)
	for _, c := range []struct {
		name    string
		do      func(d tampered)
		witness bool
		kind    Kind // "" when all is well
		file    string
		line    int
		seq     uint64
	}{
		{"nothing", func(tampered) {}, true, "", "", 0, 0},
		{"a flipped byte in a value", func(d tampered) { flip(d, mid, 2, `"nnn`, `"nno`) }, false, Changed, mid, 3, first + 2},
		{"a flipped byte in a hash", func(d tampered) {
			d.lines(mid, func(l [][]byte) [][]byte {
				at := bytes.Index(l[2], []byte(`"prev":"`)) + 20
				l[2][at] = map[bool]byte{true: '0', false: '1'}[l[2][at] == '1']
				return l
			})
		}, false, Changed, mid, 3, first + 2},
		{"a changed number", func(d tampered) { flip(d, mid, 2, fmt.Sprintf(`"seq":%d`, first+2), `"seq":9999`) }, false, Changed, mid, 3, first + 2},
		{"no JSON any more", func(d tampered) { flip(d, mid, 2, `{`, `(`) }, false, Changed, mid, 3, first + 2},
		{"a carriage return", func(d tampered) { flip(d, mid, 2, "}\n", "}\r\n") }, false, Changed, mid, 3, first + 2},
		{"an empty line", func(d tampered) { flip(d, mid, 2, "}\n", "}\n\n") }, false, Changed, mid, 4, first + 3},
		{"the last line of a file changed", func(d tampered) {
			flip(d, mid, int(second-first)-1, `"nnn`, `"nno`)
		}, false, Changed, mid, int(second - first), second - 1},
		{"the last entry changed", func(d tampered) {
			flip(d, open, bytes.Count(d.read(open), []byte("\n"))-1, `"nnn`, `"nno`)
		}, false, Changed, open, -1, 40},
		{"a deleted line", func(d tampered) { d.lines(mid, func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) }) }, false, Deleted, mid, 3, first + 2},
		{"the first line of a file deleted", func(d tampered) { d.lines(mid, func(l [][]byte) [][]byte { return l[1:] }) }, false, Deleted, mid, 1, first},
		{"two lines exchanged", func(d tampered) {
			d.lines(mid, func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l })
		}, false, Reordered, mid, 3, first + 3},
		{"a line repeated", func(d tampered) { d.lines(mid, func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[2]) }) }, false, Reordered, mid, 4, first + 2},
		{"two files exchanged", func(d tampered) {
			a, b := d.read(names[0]), d.read(mid)
			d.write(names[0], b)
			d.write(mid, a)
		}, false, Missing, names[0], 1, 1},
		{"a file in the middle gone", func(d tampered) { d.remove(mid) }, false, Missing, names[2], 1, first},
		{"the oldest file gone", func(d tampered) { d.remove(names[0]) }, false, Missing, mid, 1, 1},
		{"half of a file in the middle", func(d tampered) { d.write(mid, d.read(mid)[:len(d.read(mid))/2+7]) }, false, Changed, mid, -1, 0},
		{"the last line cut off", func(d tampered) { d.lines(open, func(l [][]byte) [][]byte { return l[:len(l)-1] }) }, false, Truncated, open, -1, 40},
		{"the last line cut within", func(d tampered) { d.write(open, bytes.TrimSuffix(d.read(open), []byte("}\n"))) }, false, Truncated, open, -1, 40},
		{"the open file emptied", func(d tampered) { d.write(open, nil) }, false, Truncated, open, 1, 0},
		{"the open file gone", func(d tampered) { d.remove(open) }, false, Truncated, names[len(names)-2], -1, 0},
		{"another log in its place", func(d tampered) { replace(t, d, 60) }, false, Replaced, "", -1, 10},
		{"a byte of a checkpoint", func(d tampered) { flip(d, "events.checkpoints", 1, "seq 20", "seq 21") }, false, Forged, "events.checkpoints", 2, 10},
		{"a checkpoint deleted", func(d tampered) {
			d.lines("events.checkpoints", func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) })
		}, false, Forged, "events.checkpoints", 2, 30},
		{"the checkpoints exchanged", func(d tampered) {
			d.lines("events.checkpoints", func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l })
		}, false, Forged, "events.checkpoints", 2, 30},
		{"log and checkpoints set back", func(d tampered) { setBack(d, older, names) }, true, RolledBack, "", -1, 31},
		{"the last checkpoint removed", func(d tampered) {
			d.lines("events.checkpoints", func(l [][]byte) [][]byte { return l[:3] })
		}, true, RolledBack, "events.checkpoints", 0, 40},
		{"all checkpoints removed", func(d tampered) { d.remove("events.checkpoints") }, true, RolledBack, "events.checkpoints", 0, 40},
		{"everything removed", func(d tampered) {
			for _, n := range append(names, "events.checkpoints") {
				d.remove(n)
			}
		}, true, Missing, "events.jsonl", 0, 1},
	} {
		d := copyOf(t, original)
		c.do(d)
		o := Options{Keys: keysOf(newPen("a")), Keep: 100, Node: "a"}
		if c.witness {
			o.Witness = witness
		}
		r, err := VerifyDirectory(t.Context(), d.directory, o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.kind == "" {
			if !r.OK || r.Err() != nil || !r.Anchored() || r.Entries != 40 || r.Chains[0].Sealed.Seq != 40 || r.Chains[0].Unsealed != 0 {
				t.Errorf("%s: %+v, %v", c.name, r, r.Err())
			}
			continue
		}
		if r.OK || len(r.Bad) == 0 {
			t.Errorf("%s is not found", c.name)
			continue
		}
		b := r.Bad[0]
		if b.Kind != c.kind || c.file != "" && b.File != c.file || c.line >= 0 && b.Line != c.line || c.seq != 0 && b.Seq != c.seq {
			t.Errorf("%s: %v (entry %d); want %s at %s:%d, entry %d", c.name, b, b.Seq, c.kind, c.file, c.line, c.seq)
		}
	}
}

func flip(d tampered, name string, line int, from, to string) {
	d.t.Helper()
	d.lines(name, func(l [][]byte) [][]byte {
		changed := bytes.Replace(l[line], []byte(from), []byte(to), 1)
		if bytes.Equal(changed, l[line]) {
			d.t.Fatalf("%s is not in %s", from, l[line])
		}
		l[line] = changed
		return l
	})
}

// replace puts another log of n entries in the place of this one.
func replace(t *testing.T, d tampered, n int) {
	for _, name := range eventFiles(t, d.directory) {
		d.remove(name)
	}
	log := open(t, Config{Directory: d.directory, FileSize: 4 * unit.KiB, Keep: 100})
	for range n {
		if err := log.Record(gate.Event{ID: "other"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// setBack makes of a log what it was at its third checkpoint.
func setBack(d, whole tampered, names []string) {
	d.lines("events.checkpoints", func(l [][]byte) [][]byte { return l[:3] })
	left := 30
	for _, n := range names {
		d.lines(n, func(l [][]byte) [][]byte {
			l = l[:min(left, len(l))]
			left -= len(l)
			return l
		})
		if left == 0 && len(d.read(n)) == 0 && n != "events.jsonl" {
			d.remove(n)
		}
	}
}

// A copy of the log from before is consistent in itself; without a witness nobody can tell.
func TestWhatOnlyAWitnessSees(t *testing.T) {
	original, witness := written(t)
	d := copyOf(t, original)
	setBack(d, d, eventFiles(t, original))
	o := Options{Keys: keysOf(newPen("a")), Keep: 100}
	if r, err := VerifyDirectory(t.Context(), d.directory, o); err != nil || !r.OK {
		t.Errorf("%+v, %v", r.Err(), err)
	}
	o.Witness = witness[3:]
	if r, err := VerifyDirectory(t.Context(), d.directory, o); err != nil || r.OK || r.Bad[0].Kind != RolledBack {
		t.Errorf("%+v, %v", r.Err(), err)
	}
}

// Files that rotation took are no fault; what is kept hangs on a checkpoint, or is said not to.
func TestWhatRotationTook(t *testing.T) {
	s := newSignedLog(t, Config{Directory: t.TempDir(), FileSize: 4 * unit.KiB, Keep: 2})
	write := func(n int) {
		for range n / 10 {
			s.write(t, 10)
		}
	}
	write(60)
	o := Options{Keys: keysOf(newPen("a")), Keep: 2}
	verify := func(o Options) Chain {
		t.Helper()
		r, err := VerifyDirectory(t.Context(), s.cfg.Directory, o)
		if err != nil || !r.OK {
			t.Fatalf("%v, %v", r.Err(), err)
		}
		return r.Chains[0]
	}
	if c := verify(o); c.RotatedAway == 0 || c.Anchored || c.Unsealed != c.Entries {
		t.Errorf("before it is signed: %+v", c)
	}
	c := s.sign(t)
	if v := verify(o); !v.Anchored || v.Unsealed != 0 || v.First != c.First || v.RotatedAway != c.First-1 {
		t.Errorf("signed: %+v, %+v", v, c)
	}
	if v := verify(Options{Keep: 2}); v.Anchored {
		t.Errorf("without a key: %+v", v)
	}
	write(60) // rotation goes on after the checkpoint
	if v := verify(o); v.RotatedAway < c.First {
		t.Errorf("later: %+v", v)
	}
	// A file deleted by hand is another matter, also when it is the oldest.
	names := eventFiles(t, s.cfg.Directory)
	tampered{t, s.cfg.Directory}.remove(names[0])
	r, err := VerifyDirectory(t.Context(), s.cfg.Directory, o)
	if err != nil || r.OK || r.Bad[0].Kind != Missing {
		t.Errorf("%v, %v", r.Err(), err)
	}
	s.sign(t) // and the gateway sees it too
	var bad *Bad
	if len(s.found) != 1 || !errors.As(s.found[0], &bad) || bad.Kind != Missing {
		t.Errorf("%v", s.found)
	}
	if r, err := VerifyDirectory(t.Context(), s.cfg.Directory, o); err != nil || r.OK {
		t.Errorf("signing has covered it up: %v, %v", r.Err(), err)
	}
}

// A chain that goes on after its end was cut off shows it for good.
func TestACutThatIsWrittenOver(t *testing.T) {
	s := newSignedLog(t, Config{Directory: t.TempDir()})
	s.write(t, 10)
	s.sign(t)
	_ = s.Log.Close()
	d := tampered{t, s.cfg.Directory}
	d.lines("events.jsonl", func(l [][]byte) [][]byte { return l[:6] })
	next := newSignedLog(t, s.cfg)
	for _, n := range []int{2, 8} {
		next.write(t, n)
		next.sign(t)
		r, err := VerifyDirectory(t.Context(), s.cfg.Directory, Options{Keys: keysOf(newPen("a"))})
		if err != nil || r.OK {
			t.Errorf("after %d more entries: %v, %v", n, r.Err(), err)
		}
	}
}

// Whatever one thing is done to a signed log, wherever: it is found (K4).
func TestAnySingleChangeIsFound(t *testing.T) {
	original, _ := written(t)
	names := append(eventFiles(t, original), "events.checkpoints")
	runs, seed := 400, uint64(1)
	if os.Getenv("GATEHOUSE_SOAK") != "" {
		runs, seed = 20000, rand.Uint64()
	}
	random := rand.New(rand.NewPCG(seed, 1))
	o := Options{Keys: keysOf(newPen("a")), Keep: 100, Node: "a"}
	d := copyOf(t, original)
	for i := range runs {
		name := names[random.IntN(len(names))]
		before := d.read(name)
		how, after := mutate(random, before)
		if bytes.Equal(before, after) {
			continue
		}
		d.write(name, after)
		r, err := VerifyDirectory(t.Context(), d.directory, o)
		lastCheckpoint := name == "events.checkpoints" && bytes.HasPrefix(before, after) && (len(after) == 0 || bytes.HasSuffix(after, []byte("\n")))
		half := name == "events.jsonl" && bytes.HasPrefix(after, before) && !bytes.HasSuffix(after, []byte("\n"))
		if (err != nil || r.OK) && !lastCheckpoint && !half { // whole checkpoints at the end: only a witness sees it; half a line behind: nothing that was signed
			t.Fatalf("seed %d, run %d: %s in %s is not found: %v", seed, i, how, name, err)
		}
		d.write(name, before)
	}
}

func mutate(random *rand.Rand, data []byte) (string, []byte) {
	out := bytes.Clone(data)
	at := random.IntN(len(out))
	lines := bytes.SplitAfter(out, []byte("\n"))
	lines = lines[:len(lines)-1]
	switch a, b := random.IntN(len(lines)), random.IntN(len(lines)); random.IntN(8) {
	case 0:
		out[at] ^= 1 << random.IntN(8)
		return fmt.Sprintf("a flipped bit at %d", at), out
	case 1:
		return fmt.Sprintf("a byte less at %d", at), slices.Delete(out, at, at+1)
	case 2:
		return fmt.Sprintf("a byte more at %d", at), slices.Insert(out, at, byte(random.IntN(256)))
	case 3:
		return fmt.Sprintf("cut at %d", at), out[:at]
	case 4:
		return fmt.Sprintf("line %d less", a), bytes.Join(slices.Delete(lines, a, a+1), nil)
	case 5:
		lines[a], lines[b] = lines[b], lines[a]
		return fmt.Sprintf("lines %d and %d exchanged", a, b), bytes.Join(lines, nil)
	case 6:
		return fmt.Sprintf("line %d once more before %d", a, b), bytes.Join(slices.Insert(lines, b, lines[a]), nil)
	default:
		return "a line more at the end", append(out, lines[a]...)
	}
}

// Two processes in one directory have a chain each; one that is bad does not hide the other.
func TestTwoChains(t *testing.T) {
	cfg := Config{Directory: t.TempDir()}
	a := newSignedLog(t, cfg)
	b := newSignedLog(t, cfg)
	a.write(t, 5)
	b.write(t, 7)
	a.sign(t)
	b.sign(t)
	r, err := VerifyDirectory(t.Context(), cfg.Directory, Options{Keys: keysOf(newPen("a"))})
	if err != nil || !r.OK || !r.Anchored() || r.Entries != 12 || len(r.Chains) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	d := tampered{t, cfg.Directory}
	flip(d, "events.jsonl", 2, `"nnn`, `"nno`)
	r, err = VerifyDirectory(t.Context(), cfg.Directory, Options{Keys: keysOf(newPen("a"))})
	if err != nil || len(r.Bad) != 1 || r.Bad[0].File != "events.jsonl" || r.Chains[1].Entries != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, _ = VerifyDirectory(t.Context(), cfg.Directory, Options{Keys: keysOf(newPen("a")), Node: "b"}); r.OK {
		t.Error("the log of node a is taken for that of node b")
	}
}

// A log is verified while it is written and rotated.
func TestALogThatIsBeingWritten(t *testing.T) {
	s := newSignedLog(t, Config{Directory: t.TempDir(), FileSize: 8 * unit.KiB, Keep: 3})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			s.write(t, 20)
			s.sign(t)
		}
	}()
	for range 50 {
		r, err := VerifyDirectory(t.Context(), s.cfg.Directory, Options{Keys: keysOf(newPen("a")), Keep: 3})
		if err != nil || !r.OK {
			t.Errorf("%v, %v", r.Err(), err)
		}
	}
	stop()
	<-ended
}

func TestVerifyingEndsWhenItIsTold(t *testing.T) {
	original, _ := written(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := VerifyDirectory(ctx, original, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := VerifyDirectory(t.Context(), filepath.Join(original, "none"), Options{}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
}

// FuzzLinkOf: what is read off the beginning of a line is what a reader of the whole line finds, for every line that is one.
func FuzzLinkOf(f *testing.F) {
	lines, _ := appendLines(nil, Position{}, []gate.Event{{ID: "a", Kind: gate.KindSystem}, {ID: "b", Kind: gate.KindSystem, Note: `"seq":7`}})
	for _, line := range bytes.Split(lines, []byte("\n")) {
		f.Add(line)
	}
	f.Add([]byte(`{"schema":"gatehouse.event/1","seq":01,"prev":"` + strings.Repeat("a", 64) + `","id":"x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		seq, prev, ok := linkOf(line)
		var link struct {
			Seq  uint64 `json:"seq"`
			Prev string `json:"prev"`
		}
		if !ok || json.Unmarshal(line, &link) != nil || bytes.Count(bytes.ToLower(line), []byte(`"seq"`)) > 1 || bytes.Count(bytes.ToLower(line), []byte(`"prev"`)) > 1 || bytes.ContainsRune(line, '\\') || !utf8.Valid(line) {
			return
		}
		if link.Seq != seq || link.Prev != prev {
			t.Errorf("%d %q of %q", seq, prev, line)
		}
	})
}

// A log that is longer than what is read in full at its end: each of its entries is still held against the next, wherever a
// byte of it was changed.
func TestAByteInALongLog(t *testing.T) {
	dir := t.TempDir()
	at, whole := Position{}, []byte(nil)
	for len(whole) < 2*maxLine {
		var lines []byte
		lines, at = appendLines(nil, at, make([]gate.Event, 64))
		whole = append(whole, lines...)
	}
	name := filepath.Join(dir, "events.jsonl")
	verify := func(data []byte) Report {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := VerifyDirectory(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(whole); !r.OK || r.Entries != at.Seq {
		t.Fatalf("%+v", r)
	}
	for i := range 60 {
		changed := bytes.Clone(whole)
		where := i * (len(whole) / 60)
		if where += i % 7; changed[where] == '\n' {
			where++
		}
		changed[where] ^= 1 << (i % 8)
		if r := verify(changed); r.OK {
			t.Errorf("byte %d of %d was changed, and nobody saw it", where, len(whole))
		}
	}
}
