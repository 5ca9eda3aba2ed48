package secret_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// clock is a clock that moves when told.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }

// fake is a source in memory, with leases when ttl is set.
type fake struct {
	mu      sync.Mutex
	fields  map[string]map[string]string // by place
	version int
	ttl     time.Duration
	maxTTL  time.Duration // of one lease in all
	issued  int
	begun   map[string]time.Time
	revoked []string
	asked   int
	renewed int
	fail    func(call int) error
	block   chan struct{}
	used    map[string]time.Time
	readers map[string]string
	now     func() time.Time
}

func newFake(c *clock) *fake {
	return &fake{fields: map[string]map[string]string{}, version: 1, begun: map[string]time.Time{}, used: map[string]time.Time{}, now: c.now}
}

func (f *fake) put(place string, pairs ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	f.fields[place] = m
	f.version++
}

func (f *fake) failing(fail func(int) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.fail = 0, fail
}

func (f *fake) Fetch(ctx context.Context, place, known string) (secret.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.block != nil {
		b := f.block
		f.mu.Unlock()
		<-b // a source that knows no context
		f.mu.Lock()
	}
	if f.fail != nil {
		if err := f.fail(f.asked); err != nil {
			return secret.Answer{}, err
		}
	}
	fields, ok := f.fields[place]
	if !ok {
		return secret.Answer{}, fmt.Errorf("%w at %s", secret.ErrGone, place)
	}
	a := secret.Answer{Version: fmt.Sprint(f.version), Fields: map[string]secret.Value{}}
	if f.ttl == 0 && known == a.Version {
		return secret.Answer{Version: known}, nil
	}
	for name, text := range fields {
		if f.ttl > 0 {
			text = fmt.Sprintf("%s-%d", text, f.issued+1)
		}
		a.Fields[name], _ = secret.New([]byte(text), "fake")
	}
	if f.ttl > 0 {
		f.issued++
		id := fmt.Sprint("lease-", f.issued)
		f.begun[id] = f.now()
		a.Lease = &secret.Lease{ID: id, TTL: f.ttl, Renewable: true}
	}
	return a, nil
}

func (f *fake) Renew(_ context.Context, l secret.Lease) (secret.Lease, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.fail != nil {
		if err := f.fail(f.asked); err != nil {
			return secret.Lease{}, err
		}
	}
	f.renewed++
	left := f.begun[l.ID].Add(f.maxTTL).Sub(f.now())
	if left <= 0 {
		return secret.Lease{}, secret.ErrLost
	}
	l.TTL = min(f.ttl, left)
	return l, nil
}

func (f *fake) Revoke(_ context.Context, l secret.Lease) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = append(f.revoked, l.ID)
	return nil
}

func (f *fake) RecordUse(_ context.Context, used map[string]time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail(1)
	}
	for place, at := range used {
		f.used[place] = at
	}
	return nil
}

func (f *fake) MayRead(_ context.Context, place, reader string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if want, ok := f.readers[place]; ok && want != reader {
		return fmt.Errorf("%s may not read it", reader)
	}
	return nil
}

type bench struct {
	*testing.T
	clock  *clock
	source *fake
	keeper *secret.Keeper
	log    *bytes.Buffer
}

func newBench(t *testing.T) bench {
	c := newClock()
	f := newFake(c)
	var log bytes.Buffer
	k := secret.NewKeeper(map[string]secret.Source{secret.Vault: f}, secret.Options{Now: c.now, Jitter: func() float64 { return 0.5 },
		Log: slog.New(slog.NewTextHandler(&log, nil)), Timeout: time.Second, MaxStale: time.Hour})
	return bench{t, c, f, k, &log}
}

func (b bench) live(text string) *secret.Live {
	b.Helper()
	l, err := b.keeper.Live(b.Context(), reference(b.T, text), "listen")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func (b bench) steps(total, each time.Duration) {
	for ; total > 0; total -= each {
		b.clock.pass(each)
		b.keeper.Step(b.Context())
	}
}

func reads(t *testing.T, l *secret.Live, want string) {
	t.Helper()
	v, err := l.Value()
	switch {
	case want == "" && err == nil:
		t.Errorf("%s: still open (I6)", l.Ref())
	case want == "" && !v.IsZero():
		t.Errorf("%s: a value beside an error", l.Ref())
	case want != "" && (err != nil || string(v.Reveal()) != want):
		t.Errorf("%s: %v, want %q", l.Ref(), err, want)
	}
}

var errDown = errors.New("connection refused")

func TestALiveFollowsRotation(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "user", "ann", "password", canary+"1")
	user, password := b.live("vault:a/b#user"), b.live("vault:a/b#password")
	if b.source.asked != 1 {
		t.Errorf("asked %d times for one place", b.source.asked)
	}
	reads(t, password, canary+"1")
	changes, version := password.Changes(), password.Version()
	b.source.put("a/b", "user", "bob", "password", canary+"2")
	reads(t, password, canary+"1")
	b.steps(time.Minute, 10*time.Second)
	select {
	case <-changes:
	default:
		t.Error("the change was not told")
	}
	if password.Version() == version {
		t.Error("the version has not grown")
	}
	reads(t, user, "bob")
	reads(t, password, canary+"2")
	changes, asked := password.Changes(), b.source.asked
	b.steps(5*time.Minute, 10*time.Second)
	select {
	case <-changes:
		t.Error("a change is told where there is none")
	default:
	}
	if n := b.source.asked - asked; n < 8 || n > 12 {
		t.Errorf("asked %d times in 5 minutes, want about 10", n)
	}
}

// I6: what can't be resolved at load is a mistake, and leaves nothing behind to be followed.
func TestUnresolvedAtLoad(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	b.source.readers = map[string]string{"a/b": "listen"}
	for text, reader := range map[string]string{"vault:a/none#x": "listen", "vault:a/b#none": "listen", "vault:a/b#x": "apis.shop", "kubernetes:a/b#c": "listen"} {
		if l, err := b.keeper.Live(t.Context(), reference(t, text), reader); err == nil || l != nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := b.keeper.Live(t.Context(), secret.Ref{}, "listen"); err == nil {
		t.Error("no reference resolved")
	}
	b.source.failing(func(int) error { return errDown })
	if _, err := b.keeper.Live(t.Context(), reference(t, "vault:c/d#x"), "listen"); !errors.Is(err, errDown) && !strings.Contains(fmt.Sprint(err), "not resolved") {
		t.Errorf("%v", err)
	}
	b.keeper.Keep(nil)
	for _, s := range b.keeper.Statuses() {
		if s.Ref != "" && !strings.Contains(s.Ref, "a/b") {
			t.Errorf("%s is followed", s.Ref)
		}
	}
	asked := b.source.asked
	b.keeper.Keep([]secret.Ref{reference(t, "vault:a/b#x")})
	for range 3 {
		b.clock.pass(time.Second)
		b.keeper.Step(t.Context())
	}
	if b.source.asked > asked {
		t.Error("what a refused document named is followed")
	}
	b.source.failing(nil)
	b.source.put("c/d", "x", canary)
	reads(t, b.live("vault:c/d#x"), canary)
}

// A value ends at its time by itself, though nothing follows it any more: a stuck keeper closes, it doesn't open.
func TestAValueEndsByItself(t *testing.T) {
	for ttl, last := range map[time.Duration]time.Duration{0: time.Hour, 9 * time.Minute: 9 * time.Minute} {
		b := newBench(t)
		b.source.ttl, b.source.maxTTL = ttl, time.Hour
		b.source.put("a/b", "x", canary)
		l := b.live("vault:a/b#x")
		b.clock.pass(last - time.Nanosecond)
		if _, err := l.Value(); err != nil {
			t.Error(err)
		}
		b.clock.pass(time.Nanosecond)
		reads(t, l, "")
	}
}

// The source goes away later: the last good value serves for max_stale, then what needs it is closed, and opens again.
func TestSourceDownLater(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	l := b.live("vault:a/b#x")
	b.source.failing(func(int) error { return fmt.Errorf("ask: %w", errDown) })
	b.steps(55*time.Minute, 20*time.Second)
	reads(t, l, canary)
	s := b.keeper.Statuses()[0]
	if !s.Usable || s.Failure == "" || s.FailedAt == nil || s.Ends == nil {
		t.Errorf("%+v", s)
	}
	asked := b.source.asked
	if asked > 55*60/15+10 || asked < 55 {
		t.Errorf("asked a source that is down %d times in 55 minutes", asked)
	}
	changes := l.Changes()
	b.steps(6*time.Minute, 20*time.Second)
	reads(t, l, "")
	select {
	case <-changes:
	default:
		t.Error("the end was not told")
	}
	if s := b.keeper.Statuses()[0]; s.Usable {
		t.Errorf("%+v", s)
	}
	b.source.failing(nil)
	b.steps(time.Minute, 20*time.Second)
	reads(t, l, canary)
	if log := b.log.String(); strings.Count(log, "has ended") != 1 || strings.Count(log, "can't be read;") != 1 || strings.Count(log, "again") != 1 || strings.Contains(log, canary) {
		t.Errorf("log:\n%s", log)
	}
}

// What its source says is gone ends within a minute; a rotation that removes first and writes then is not seen.
func TestGone(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	l := b.live("vault:a/b#x")
	b.steps(time.Minute, 5*time.Second)
	b.source.mu.Lock()
	delete(b.source.fields, "a/b")
	b.source.mu.Unlock()
	b.steps(45*time.Second, 5*time.Second)
	reads(t, l, canary)
	if _, err := b.keeper.Live(t.Context(), l.Ref(), "listen"); !errors.Is(err, secret.ErrGone) {
		t.Errorf("loaded while it is gone: %v", err)
	}
	b.source.put("a/b", "x", canary+"2")
	b.steps(time.Minute, 5*time.Second)
	reads(t, l, canary+"2")
	b.source.mu.Lock()
	delete(b.source.fields, "a/b")
	b.source.mu.Unlock()
	b.steps(2*time.Minute, 5*time.Second)
	reads(t, l, "")
}

// A lease is prolonged at two thirds, replaced before its greatest age, and nothing outlives its end.
func TestLeases(t *testing.T) {
	b := newBench(t)
	b.source.ttl, b.source.maxTTL = 9*time.Minute, time.Hour
	b.source.put("database/creds", "password", canary)
	l := b.live("vault:database/creds#password")
	reads(t, l, canary+"-1")
	b.steps(30*time.Minute, 10*time.Second)
	reads(t, l, canary+"-1")
	if b.source.renewed < 4 || b.source.renewed > 8 {
		t.Errorf("prolonged %d times in 30 minutes", b.source.renewed)
	}
	for i := range 720 {
		b.steps(10*time.Second, 10*time.Second)
		v, err := l.Value()
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		id := "lease-" + strings.TrimPrefix(string(v.Reveal()), canary+"-")
		if age := b.clock.now().Sub(b.source.begun[id]); age >= b.source.maxTTL {
			t.Fatalf("%s is handed out at the age of %s", id, age)
		}
	}
	b.source.failing(func(int) error { return errDown })
	b.steps(8*time.Minute, 10*time.Second)
	b.steps(4*time.Minute, 10*time.Second)
	reads(t, l, "")
	b.source.failing(nil)
	b.steps(time.Minute, 10*time.Second)
	issued := b.source.issued
	reads(t, l, fmt.Sprintf("%s-%d", canary, issued))
	if err := b.keeper.Close(t.Context()); err != nil || len(b.source.revoked) == 0 || b.source.revoked[len(b.source.revoked)-1] != fmt.Sprint("lease-", issued) {
		t.Errorf("%v: given back: %v", err, b.source.revoked)
	}
	reads(t, l, "")
	if _, err := b.keeper.Live(t.Context(), l.Ref(), "listen"); err == nil {
		t.Error("resolved after the end")
	}
}

// What no document uses any more is forgotten after a while, its lease given back; who comes back in time finds it.
func TestMarkAndSweep(t *testing.T) {
	b := newBench(t)
	b.source.ttl, b.source.maxTTL = time.Hour, 24*time.Hour
	b.source.put("a/b", "x", canary)
	b.source.put("c/d", "x", canary)
	keep, drop := b.live("vault:a/b#x"), b.live("vault:c/d#x")
	b.keeper.Keep([]secret.Ref{keep.Ref()})
	b.steps(30*time.Second, 10*time.Second)
	b.live("vault:c/d#x")
	b.keeper.Keep([]secret.Ref{keep.Ref(), drop.Ref()})
	b.steps(5*time.Minute, 10*time.Second)
	if reads(t, drop, canary+"-2"); len(b.source.revoked) != 0 {
		t.Error("revoked what is in use")
	}
	b.keeper.Keep([]secret.Ref{keep.Ref()})
	b.steps(30*time.Second, 10*time.Second)
	reads(t, drop, canary+"-2")
	b.steps(time.Minute, 10*time.Second)
	reads(t, drop, "")
	reads(t, keep, canary+"-1")
	if len(b.source.revoked) != 1 || b.source.revoked[0] != "lease-2" {
		t.Errorf("given back: %v", b.source.revoked)
	}
	if n := len(b.keeper.Statuses()); n != 1 {
		t.Errorf("%d are followed", n)
	}
}

// The N-th question fails, for each N: afterwards everything is right again, and in between only good values were given.
func TestTheNthCallFails(t *testing.T) {
	for _, ttl := range []time.Duration{0, 9 * time.Minute} {
		for n := 1; n <= 12; n++ {
			b := newBench(t)
			b.source.ttl, b.source.maxTTL = ttl, 20*time.Minute
			b.source.put("a/b", "x", canary)
			b.source.failing(func(call int) error {
				if call == n {
					return errDown
				}
				return nil
			})
			l, err := b.keeper.Live(t.Context(), reference(t, "vault:a/b#x"), "listen")
			if (err != nil) != (n == 1) {
				t.Fatalf("call %d: %v", n, err)
			}
			if n == 1 {
				l = b.live("vault:a/b#x")
			}
			for range 180 {
				b.steps(10*time.Second, 10*time.Second)
				if v, err := l.Value(); err != nil || !strings.HasPrefix(string(v.Reveal()), canary) {
					t.Fatalf("call %d fails: %v", n, err)
				}
			}
		}
	}
}

// A source that flaps: seeded at random, no value is ever given later than its bound after the last good answer.
func TestFlapping(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	l := b.live("vault:a/b#x")
	good := b.clock.now()
	seed := uint64(7)
	down := false
	b.source.failing(func(int) error {
		if down {
			return errDown
		}
		good = b.clock.now()
		return nil
	})
	open, closed := 0, 0
	for range 3000 {
		seed = seed*6364136223846793005 + 1442695040888963407
		if seed>>33%97 == 0 {
			down = !down
		}
		b.steps(37*time.Second, 37*time.Second)
		_, err := l.Value()
		if late := b.clock.now().Sub(good); (err != nil) != (late >= time.Hour) && late > 0 {
			t.Fatalf("%s after the last good answer: %v", late, err)
		}
		if err == nil {
			open++
		} else {
			closed++
		}
	}
	if open == 0 || closed == 0 {
		t.Errorf("open %d, closed %d: tests nothing", open, closed)
	}
}

// A source that never answers holds nobody up for longer than the timeout, is not asked again meanwhile, and what it
// brings too late is given back.
func TestASourceThatHangs(t *testing.T) {
	c := newClock()
	f := newFake(c)
	f.ttl, f.maxTTL = time.Hour, time.Hour
	f.put("a/b", "x", canary)
	f.block = make(chan struct{})
	k := secret.NewKeeper(map[string]secret.Source{secret.Vault: f}, secret.Options{Timeout: 50 * time.Millisecond})
	begin := time.Now()
	for range 3 {
		if _, err := k.Live(t.Context(), reference(t, "vault:a/b#x"), ""); err == nil {
			t.Fatal("resolved")
		}
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
	close(f.block)
	for range 200 {
		f.mu.Lock()
		n := len(f.revoked)
		f.mu.Unlock()
		if n > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the late leases were not given back")
}

func TestLastUseIsRecorded(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	b.source.put("c/d", "x", canary)
	used, _ := b.live("vault:a/b#x"), b.live("vault:c/d#x")
	b.steps(2*time.Minute, 10*time.Second) // the load itself is a use
	clear(b.source.used)
	b.source.failing(func(int) error { return errDown })
	for range 1000 {
		reads(t, used, canary)
	}
	b.steps(2*time.Minute, 10*time.Second)
	b.source.failing(nil)
	b.steps(2*time.Minute, 10*time.Second)
	if len(b.source.used) != 1 || b.source.used["a/b"].IsZero() {
		t.Errorf("%v", b.source.used)
	}
}

// Fifty readers while the secret is rotated and the keeper runs by the real clock: each sees one value after the other, never
// none and never an older one again.
func TestRotationWhileOthersRead(t *testing.T) {
	c := newClock()
	f := newFake(c)
	f.put("a/b", "user", "u0", "password", "p0")
	k := secret.NewKeeper(map[string]secret.Source{secret.Vault: f}, secret.Options{Poll: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	var under sync.WaitGroup
	under.Go(func() { k.Run(ctx) })
	var wrong, rotated atomic.Int64
	for range 50 {
		under.Go(func() {
			user, err := k.Live(ctx, reference(t, "vault:a/b#user"), "")
			if err != nil {
				wrong.Add(1)
				return
			}
			for last := 0; ctx.Err() == nil; {
				v, err := user.Value()
				if err != nil {
					wrong.Add(1)
					return
				}
				n, err := strconv.Atoi(string(v.Reveal()[1:]))
				if err != nil || n < last {
					wrong.Add(1)
				}
				if last = n; n > 0 {
					rotated.Add(1)
				}
				_, _, _ = user.Changes(), user.Version(), k.Statuses()
				time.Sleep(time.Millisecond)
			}
		})
	}
	for i := 1; i < 100; i++ {
		f.put("a/b", "user", fmt.Sprint("u", i), "password", fmt.Sprint("p", i))
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	under.Wait()
	if wrong.Load() != 0 || rotated.Load() == 0 {
		t.Errorf("%d wrong, %d rotated values", wrong.Load(), rotated.Load())
	}
}

// Many loads at once ask once.
func TestSingleFlight(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	b.source.block = make(chan struct{})
	var under sync.WaitGroup
	for range 50 {
		under.Go(func() {
			if _, err := b.keeper.Live(t.Context(), reference(t, "vault:a/b#x"), ""); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	close(b.source.block)
	under.Wait()
	if b.source.asked > 2 {
		t.Errorf("asked %d times", b.source.asked)
	}
}

func TestAValueCostsNothing(t *testing.T) {
	b := newBench(t)
	b.source.put("a/b", "x", canary)
	l := b.live("vault:a/b#x")
	if n := testing.AllocsPerRun(100, func() { _, _ = l.Value() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkValue(b *testing.B) {
	t := &testing.T{}
	f := newFake(newClock())
	f.put("a/b", "x", canary)
	k := secret.NewKeeper(map[string]secret.Source{secret.Vault: f}, secret.Options{})
	l, err := k.Live(b.Context(), reference(t, "vault:a/b#x"), "")
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			_, _ = l.Value()
		}
	})
}
