package literal

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// holdsFor judges the condition of a text the slow and obvious way.
func (c Condition) holdsFor(text string) bool {
	folded := brink + Fold(text) + brink
	var kept []byte
	for i := range len(folded) {
		if !isFiller(folded[i]) {
			kept = append(kept, folded[i])
		}
	}
	bare := string(kept)
	in := func(where string) func([]string) bool {
		return func(clause []string) bool {
			return len(clause) > 0 && !slices.ContainsFunc(clause, func(w string) bool { return strings.Contains(where, w) })
		}
	}
	held := Of(text)
	return len(text) >= c.Min && !slices.ContainsFunc(c.Clauses, in(folded)) && !slices.ContainsFunc(c.Bare, in(bare)) &&
		!slices.ContainsFunc(c.Bytes, func(s ByteSet) bool { return !s.Intersects(held) })
}

// The sieve judges as the conditions say: nothing that holds is missed, and nothing else is reported but for the leading
// bytes of the long s and the Kelvin sign.
func TestSieveAgreesWithConditions(t *testing.T) {
	s, rules := crsSieve(t)
	w := s.NewWork()
	rnd := rand.New(rand.NewPCG(7, 8))
	conditions := make([]Condition, len(rules))
	var texts []string
	for i, r := range rules {
		conditions[i], _ = r.condition()
		if re, bytes, err := tree(r.argument); err == nil && r.words == nil {
			for range 2 {
				v := text(re, bytes, rnd)
				for range rnd.IntN(6) { // filler here and there
					at := rnd.IntN(len(v) + 1)
					v = v[:at] + string(filler[rnd.IntN(len(filler))]) + v[at:]
				}
				texts = append(texts, v[:min(len(v), 400)])
			}
		}
	}
	for _, v := range benign() {
		texts = append(texts, v.text)
	}
	held := 0
	for _, v := range texts {
		got := s.Scan(v, w)
		for i, c := range conditions {
			want := c.holdsFor(v)
			if want {
				held++
			}
			if reported := reports(got, i); reported != want && (want || !strings.ContainsAny(v, "ſ\u212a") && !strings.Contains(v, "\xc5") && !strings.Contains(v, "\xe2")) {
				t.Fatalf("%s, text %q: reported %v, the condition says %v: %s", rules[i].name, v, reported, want, show(c))
			}
		}
	}
	t.Logf("%d texts, %d conditions met", len(texts), held)
}

// A sieve is shared, a Work is not; and a Work may be used for as long as one likes.
func TestManyGoroutinesAndManyScans(t *testing.T) {
	s, _ := crsSieve(t)
	values := benign()
	want := make([][]uint64, len(values))
	for i, v := range values {
		want[i] = slices.Clone(s.Scan(v.text, s.NewWork()))
	}
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			w := s.NewWork()
			w.scan = math.MaxUint32 - uint32(n*50) // the numbers run out on the way
			for i, v := range values {
				if got := s.Scan(v.text, w); !slices.Equal(got, want[i]) {
					t.Errorf("%q: %x, alone %x", v.text, got, want[i])
				}
			}
		})
	}
	group.Wait()
}

// An adversary can't make a scan slow: whatever the text repeats, each literal is noted once, and filler makes no byte be
// read more than a few times.
func TestScanAllocatesNothing(t *testing.T) {
	s, _ := crsSieve(t)
	w := s.NewWork()
	for _, v := range []string{"", "plain", strings.Repeat("select' union ", 200), strings.Repeat("日'", 300), strings.Repeat("'", 500) + "cat"} {
		if n := testing.AllocsPerRun(5, func() { s.Scan(v, w) }); n > 0 {
			t.Errorf("%.20q: %v allocations", v, n)
		}
	}
}

func TestSizeAndIDs(t *testing.T) {
	var b Builder
	for i := range 200 {
		if id := b.Add(Words([]string{"cat"})); id != i {
			t.Fatalf("id %d, want %d", id, i)
		}
	}
	s := b.Build()
	got := s.Scan("CAT", s.NewWork())
	if s.Size() != 200 || len(got) != 4 || got[0] != math.MaxUint64 || got[3] != 1<<8-1 {
		t.Errorf("size %d, result %x", s.Size(), got)
	}
	late := b.Add(Words([]string{"dog"}))
	if s.Size() != 200 {
		t.Error("a built sieve changed")
	}
	if two := b.Build(); !reports(two.Scan("a dog", two.NewWork()), late) || reports(two.Scan("a dog", two.NewWork()), 0) {
		t.Error("a second sieve of the same builder is wrong")
	}
}
