package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// ledger is what jobs really did, seen from outside.
type ledger struct {
	mu      sync.Mutex
	running map[string]string // job -> node
	twice   []string
	runs    int
}

func (l *ledger) begin(job, node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.running[job]; other != "" {
		l.twice = append(l.twice, fmt.Sprintf("%s by %s and %s", job, other, node))
	}
	l.running[job] = node
	l.runs++
}

func (l *ledger) end(job, node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[job] == node {
		delete(l.running, job)
	}
}

// turns reads every turn of a job from the store.
func turns(t *testing.T, s *shelf, job string) (list []Turn) {
	t.Helper()
	records, err := s.List(t.Context(), slotPrefix+job+"/", "", 10000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		var turn Turn
		if err := json.Unmarshal(r.Value, &turn); err != nil {
			t.Fatal(err)
		}
		list = append(list, turn)
	}
	return list
}

// Five nodes, killed and started again at random: no job runs twice at once, every turn is there, and each has an end.
func TestJobsOfDyingNodes(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			shared, book := newShelf(time.Now), &ledger{running: map[string]string{}}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
			defer cancel()
			var all sync.WaitGroup
			for n := range 5 {
				r := rand.New(rand.NewPCG(seed, uint64(n)))
				all.Go(func() {
					for starts := 0; ctx.Err() == nil; starts++ {
						until := min(time.Duration(r.Int64N(int64(10*time.Minute))), time.Hour)
						runNode(ctx, shared, book, fmt.Sprintf("%d.%d", n, starts), r, until)
						time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
					}
				})
			}
			all.Wait()
			// One that stays takes what the dead have left.
			last, stop := context.WithTimeout(t.Context(), 5*time.Minute)
			defer stop()
			runNode(last, shared, book, "last", rand.New(rand.NewPCG(1, 1)), time.Hour)
			if len(book.twice) > 0 {
				t.Errorf("seed %d: ran twice at once: %v", seed, book.twice)
			}
			count := map[Outcome]int{}
			for _, job := range []string{"again", "once"} {
				list := turns(t, shared, job)
				if len(list) < 80 {
					t.Errorf("seed %d: only %d turns of %s in two hours", seed, len(list), job)
				}
				for i, turn := range list {
					if turn.Slot != int64(i+1) {
						t.Fatalf("seed %d: turn %d of %s stands in place %d", seed, turn.Slot, job, i+1)
					}
					if turn.Outcome == Running && i < len(list)-1 {
						t.Errorf("seed %d: turn %d of %s has no end", seed, turn.Slot, job)
					}
					if turn.Attempt > 1 && job == "once" {
						t.Errorf("a turn that may run once only ran again: %+v", turn)
					}
					count[turn.Outcome]++
					if turn.Attempt > 1 && turn.Outcome == Done {
						count["taken over"]++
					}
				}
			}
			t.Logf("seed %d: %d runs: %v", seed, book.runs, count)
			if count[Lost] == 0 || count["taken over"] == 0 || count[Done] < 100 {
				t.Errorf("seed %d: %v", seed, count)
			}
		})
	}
}

// runNode is a node's life; it ends by a stop or, two times of three, by a kill: then nothing more reaches the store and
// nothing more is done.
func runNode(ctx context.Context, shared *shelf, book *ledger, name string, r *rand.Rand, until time.Duration) {
	way := &line{shelf: shared}
	life, end := context.WithTimeout(ctx, until)
	defer end()
	work := func(job string, takes time.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			book.begin(job, name)
			defer book.end(job, name)
			select {
			case <-time.After(takes):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	jobs, err := NewJobs([]Job{
		{Name: "again", Every: time.Minute, Jitter: 2 * time.Second, Again: true, Run: work("again", 20*time.Second)},
		{Name: "once", Every: time.Minute, Run: work("once", 20*time.Second)},
	}, JobTools{Durable: way, Node: Identity{ID: name, Name: name}, Now: time.Now})
	if err != nil {
		panic(err)
	}
	if r.IntN(3) > 0 {
		kill := context.AfterFunc(life, func() { way.dead.Store(true) })
		defer kill()
		way.delay = func() time.Duration {
			if life.Err() != nil {
				way.dead.Store(true)
			}
			return 0
		}
	}
	jobs.Run(life)
}

func TestOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		var ran atomic.Int64
		var fail atomic.Bool
		offset := new(atomic.Int64)
		job := Job{Name: "x", Every: time.Hour, Run: func(context.Context) error {
			ran.Add(1)
			if fail.Load() {
				panic("a bug")
			}
			return nil
		}}
		node := func(name string) (*Jobs, context.CancelFunc) {
			jobs, err := NewJobs([]Job{job}, JobTools{Durable: shared, Node: Identity{ID: name, Name: name},
				Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go jobs.Run(ctx)
			return jobs, func() { cancel(); synctest.Wait(); time.Sleep(time.Minute) }
		}
		runs := func(what string, want int64) {
			t.Helper()
			if got := ran.Swap(0); got != want {
				t.Errorf("%s: ran %d times instead of %d", what, got, want)
			}
		}
		jobs, stop := node("a")
		time.Sleep(time.Minute)
		runs("a job that never ran begins at once", 1)
		time.Sleep(10 * time.Hour)
		runs("ten hours", 10)
		stop()
		time.Sleep(100 * time.Hour)
		_, stop = node("b")
		time.Sleep(10 * time.Minute)
		runs("a hundred missed turns are one", 1)
		offset.Add(int64(-48 * time.Hour))
		time.Sleep(5 * time.Hour)
		if n := ran.Swap(0); n < 4 || n > 6 {
			t.Errorf("after the clock was set back: %d runs in 5 hours", n)
		}
		offset.Add(int64(1000 * time.Hour))
		time.Sleep(5 * time.Hour)
		if n := ran.Swap(0); n < 4 || n > 7 {
			t.Errorf("after the clock was set forward: %d runs in 5 hours", n)
		}
		fail.Store(true)
		time.Sleep(time.Hour + time.Minute) // not just when a turn begins
		s, err := jobs.Status(t.Context())
		if err != nil || len(s) != 1 || s[0].Last.Outcome != Failed || s[0].Last.Error != "panic: a bug" || s[0].Last.Node != "b" {
			t.Errorf("%+v %v", s, err)
		}
		if list := s[0].findings(s[0].turn.Add(3 * time.Hour)); len(list) != 2 {
			t.Errorf("%q", list)
		}
		fail.Store(false)
		stop()
		ran.Store(0)
		_, stop = node("c")
		time.Sleep(30 * time.Minute)
		if n := ran.Load(); n > 1 {
			t.Errorf("a restart ran it %d times", n)
		}
		stop()
	})
}

// A store that fails while a job ends does not make it lost, as long as the lease lives.
func TestTheOutcomeOutlastsAHiccup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		job := Job{Name: "x", Every: time.Hour, Run: func(context.Context) error {
			time.Sleep(time.Second)
			shared.setGone(true)
			time.AfterFunc(6*time.Second, func() { shared.setGone(false) })
			return errors.New("as planned")
		}}
		jobs, err := NewJobs([]Job{job}, JobTools{Durable: shared, Node: Identity{ID: "a", Name: "a"}, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		jobs.Run(ctx)
		if list := turns(t, shared, "x"); len(list) != 1 || list[0].Outcome != Failed || list[0].Error != "as planned" {
			t.Errorf("%+v", list)
		}
	})
}

func TestWrongJobs(t *testing.T) {
	run := func(context.Context) error { return nil }
	_, err := NewJobs([]Job{{Name: "a", Every: time.Second, Run: run}, {Name: "a", Every: time.Second, Run: run}, {Every: time.Second, Run: run},
		{Name: "b", Run: run}, {Name: "c", Every: time.Second}, {Name: "d/e", Every: time.Second, Run: run}}, JobTools{Durable: newShelf(time.Now), Now: time.Now})
	var list interface{ Error() string }
	if !errors.As(err, &list) || len(list.Error()) < 100 {
		t.Error(err)
	}
	jobs, _ := NewJobs([]Job{{Name: "a", Every: time.Second, Run: run}}, JobTools{Durable: newShelf(time.Now), Now: time.Now})
	_ = jobs.leases.records.(*shelf).WriteAll(t.Context(), store.Write{Key: lastPrefix + "a", Value: []byte("{")})
	if _, err := jobs.Status(t.Context()); err == nil {
		t.Error("a record that cannot be read")
	}
}
