package key_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/key/keytest"
	"github.com/gatehouse-sec/gatehouse/secret"
)

func shares(k, n int) key.Config {
	return key.Config{Root: key.Choice{Shares: &key.Shares{Threshold: k, Of: n}}}
}

// clock is a time that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (h *house) mint(t *testing.T, cfg key.Config) []secret.Value {
	t.Helper()
	_, first := h.open(t, cfg)
	if first == nil || len(first.Shares) != cfg.Root.Shares.Of || first.Threshold != cfg.Root.Shares.Threshold || !first.Words.IsZero() {
		t.Fatalf("%+v", first)
	}
	return first.Shares
}

func TestSharesRoot(t *testing.T) {
	dir := t.TempDir()
	var files [2][]secret.Ref
	make2 := func(set int) key.Root {
		cfg := shares(2, 3)
		cfg.Root.Shares.Files = files[set]
		return newRoot(t, cfg, key.Options{})()
	}
	_ = dir
	// the suite wraps and unwraps: what is handed out goes into the files that the next root reads
	keytest.Root(t, func() key.Root {
		return &keeping{t: t, root: make2(0), files: &files[0], again: func() key.Root { return make2(0) }}
	}, func() key.Root { return make2(1) })
}

// keeping is a root of shares whose people keep them in files.
type keeping struct {
	t     *testing.T
	root  key.Root
	files *[]secret.Ref
	again func() key.Root
}

func (k *keeping) Describe() key.Description { return k.root.Describe() }
func (k *keeping) Wrap(ctx context.Context, plain, aad []byte) (key.Envelope, error) {
	e, err := k.root.Wrap(ctx, plain, aad)
	for i, s := range k.root.(key.Minter).Handout().Shares {
		if i != 1 { // the first and the last of three
			*k.files = append(*k.files, ref(k.t, "file:"+write(k.t, s.Reveal())))
		}
	}
	return e, err
}
func (k *keeping) Unwrap(ctx context.Context, e key.Envelope, aad []byte) ([]byte, error) {
	return k.again().Unwrap(ctx, e, aad)
}

// Any two of four shares open, given in any order while the start waits, and one never does.
func TestPeopleOpenWithTheirShares(t *testing.T) {
	h := newHouse(t)
	cfg := shares(2, 4)
	list := h.mint(t, cfg)
	for a := range list {
		for b := range list {
			o := h.options()
			o.Collector = key.NewCollector(time.Now, nil)
			opened := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, _, err := key.Open(ctx, cfg, o)
				opened <- err
			}()
			waitFor(t, func() bool { return o.Collector.Progress().Waiting })
			if p := o.Collector.Progress(); p != (key.Progress{Waiting: true, Needed: 2, Missing: 2}) {
				t.Fatalf("%+v", p)
			}
			if p, err := o.Collector.Give("ann", list[a]); err != nil || p.Missing != 1 {
				t.Fatalf("%+v %v", p, err)
			}
			_, _ = o.Collector.Give("bob", list[b])
			if a == b {
				if p := o.Collector.Progress(); p.Missing != 1 {
					t.Errorf("the same share twice: %+v", p)
				}
				cancel()
				if err := <-opened; !errors.Is(err, key.ErrWaiting) || !strings.Contains(err.Error(), "1 of 2") {
					t.Error(err)
				}
				continue
			}
			if err := <-opened; err != nil {
				t.Errorf("shares %d and %d: %v", a, b, err)
			}
			cancel()
			if o.Collector.Progress().Waiting {
				t.Error("it still waits")
			}
		}
	}
	if _, _, err := key.Open(t.Context(), cfg, h.options()); !errors.Is(err, key.ErrWaiting) || !strings.Contains(err.Error(), "2 of 2") {
		t.Errorf("without anybody: %v", err)
	}
}

func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for range 2000 {
		if ready() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it takes too long")
}

// K10, I18: wrong, partial and foreign shares are refused with the same words, slow down whoever gives them and nobody
// else, spoil nothing, and each is reported.
func TestWrongShares(t *testing.T) {
	h, foreign := newHouse(t), newHouse(t)
	cfg := shares(3, 5)
	list := h.mint(t, cfg)
	others := foreign.mint(t, cfg)
	c := &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	var mu sync.Mutex
	var attempts []key.Attempt
	o := h.options()
	o.Collector = key.NewCollector(c.Now, func(a key.Attempt) { mu.Lock(); attempts = append(attempts, a); mu.Unlock() })
	if _, err := o.Collector.Give("ann", list[0]); !errors.Is(err, key.ErrRefused) {
		t.Errorf("nobody waits: %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		_, _, err := key.Open(t.Context(), cfg, o)
		opened <- err
	}()
	waitFor(t, func() bool { return o.Collector.Progress().Waiting })
	if _, err := o.Collector.Give("ann", list[0]); err != nil {
		t.Fatal(err)
	}
	text := string(list[1].Reveal())
	renumbered := strings.Replace(text, "-2-", "-3-", 1)
	words := map[string]bool{}
	wrong := []string{renumbered, string(others[1].Reveal()), text[:len(text)-1], text[:40], "ghs1", "x", strings.Replace(text, "ghs1", "ghs2", 1), text + "0", strings.Repeat("a", 2000), text[:len(text)-10] + "ffffffff" + text[len(text)-2:]}
	for i, s := range wrong {
		_, err := o.Collector.Give(fmt.Sprintf("giver %d", i), value(t, s))
		if !errors.Is(err, key.ErrRefused) {
			t.Errorf("%.20q: %v", s, err)
			continue
		}
		words[err.Error()] = true
	}
	if len(words) != 1 {
		t.Errorf("it tells wrong shares apart: %v", words)
	}
	// 10^4 guesses: looked at ever more seldom
	looked, refusedFor := 0, map[bool]int{}
	for i := range 10_000 {
		_, err := o.Collector.Give("mallory", value(t, fmt.Sprintf("ghs1-00000000-1-%064x-00000000", i)))
		soon := errors.Is(err, key.ErrTooSoon)
		refusedFor[soon]++
		if !soon {
			looked++
		}
		c.add(10 * time.Millisecond) // 100 s in all
	}
	if looked > 12 || looked < 6 {
		t.Errorf("%d of 10000 guesses were looked at", looked)
	}
	// others are not slowed, and what was given counts
	if p, err := o.Collector.Give("bob", value(t, strings.ToUpper(" "+text[:20]+" "+text[20:]+"\n"))); err != nil || p.Missing != 1 {
		t.Fatalf("%+v %v", p, err)
	}
	if _, err := o.Collector.Give("mallory", list[2]); !errors.Is(err, key.ErrTooSoon) {
		t.Errorf("whoever guessed need not wait: %v", err)
	}
	c.add(31 * time.Second)
	if _, err := o.Collector.Give("mallory", list[2]); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	accepted, soon := 0, 0
	for _, a := range attempts {
		if a.Accepted {
			accepted++
		}
		if a.TooSoon {
			soon++
		}
	}
	if accepted != 3 || len(attempts) != 1+1+len(wrong)+10_000+3 || soon != refusedFor[true]+1 {
		t.Errorf("%d attempts, %d accepted, %d too soon", len(attempts), accepted, soon)
	}
}

// Givers are remembered within bounds: a million names cost nothing and still wait.
func TestManyGivers(t *testing.T) {
	h := newHouse(t)
	cfg := shares(2, 2)
	h.mint(t, cfg)
	c := &clock{now: time.Now()}
	o := h.options()
	o.Collector = key.NewCollector(c.Now, nil)
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() {
		_, _, err := key.Open(ctx, cfg, o)
		opened <- err
	}()
	waitFor(t, func() bool { return o.Collector.Progress().Waiting })
	looked := 0
	for i := range 3000 {
		if _, err := o.Collector.Give(fmt.Sprint(i), value(t, "x")); !errors.Is(err, key.ErrTooSoon) {
			looked++
		}
	}
	if looked > 1030 {
		t.Errorf("%d guesses under ever new names were looked at", looked)
	}
	cancel()
	if err := <-opened; !errors.Is(err, key.ErrWaiting) {
		t.Error(err)
	}
}

// Shares are given out before the keyring depends on them.
func TestRekeyToShares(t *testing.T) {
	h := newHouse(t)
	r, _ := h.open(t, key.Config{})
	cfg := shares(2, 3)
	root, err := key.NewRoot(cfg, r.Status().Installation, h.options())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Rekey(t.Context(), root, func(key.Handout) error { return errors.New("nobody came") }); err == nil {
		t.Error("the root key was changed without anybody having a share")
	}
	h.open(t, key.Config{}) // the old root still opens it
	var out key.Handout
	if err := r.Rekey(t.Context(), root, func(h key.Handout) error { out = h; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Shares[1:] {
		cfg.Root.Shares.Files = append(cfg.Root.Shares.Files, ref(t, "file:"+write(t, s.Reveal())))
	}
	again, _ := h.open(t, cfg)
	opens(t, again, "store", "x", seal(t, r, "store", "x"))
	_ = rand.Reader
}

// K10: shares that nobody reads are as good as destroyed: no keyring is made that no later start could open.
func TestNobodyReadsTheShares(t *testing.T) {
	h := newHouse(t)
	o := h.options()
	o.Unattended = true
	_, first, err := key.Open(t.Context(), shares(2, 3), o)
	if err == nil || first != nil || !strings.Contains(err.Error(), "start once on a terminal") {
		t.Error(first, err)
	}
	if data, _, err := o.Place.Load(t.Context()); data != nil || err != nil {
		t.Error("a keyring was made", err)
	}
	if _, _, err := key.Open(t.Context(), key.Config{}, o); err != nil {
		t.Error("a root that is opened without people:", err)
	}
}
