package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
	"github.com/gatehouse-sec/gatehouse/store/redis"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

// site is some nodes over a real PostgreSQL and a real Redis, each with connections of its own.
type site struct {
	stores      []store.Durable
	revocations []*fleet.Revocations
}

func newSite(t *testing.T, n int, database store.Config, address string) *site {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &site{}
	for range n {
		db, err := postgres.Open(ctx, postgres.Options{Config: database})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		fast, err := redis.Open(ctx, redis.Options{Config: store.SharedConfig{URL: "redis://" + address, Insecure: gate.Risk{AcceptRisk: "a test"}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fast.Close)
		r := fleet.NewRevocations(fleet.RevocationConfig{}, fleet.RevocationTools{Durable: db, Feed: fast.Feed(), Now: time.Now})
		if err := r.Load(ctx); err != nil {
			t.Fatal(err)
		}
		go r.Run(ctx)
		s.stores, s.revocations = append(s.stores, db), append(s.revocations, r)
	}
	return s
}

// reach revokes tokens one after the other and gives how long it takes until every node refuses each.
func (s *site) reach(t *testing.T, name string, n int) {
	t.Helper()
	var lags []time.Duration
	var all sync.WaitGroup
	for i := range n {
		id := fmt.Sprint(name, i)
		began := time.Now()
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if _, err := s.revocations[i%len(s.revocations)].Revoke(ctx, fleet.Revocation{Kind: fleet.ByToken, Issuer: "a", Token: id}); err != nil && !errors.Is(err, fleet.ErrNotKept) {
				t.Error(err)
			}
		})
		for _, r := range s.revocations {
			for {
				yes, err := r.Revoked("a", "b", id, began)
				if err != nil || time.Since(began) > 5*time.Second {
					t.Fatalf("%s: after %s: %v", name, time.Since(began), err)
				}
				if yes {
					break
				}
				time.Sleep(500 * time.Microsecond)
			}
		}
		lags = append(lags, time.Since(began))
	}
	all.Wait()
	slices.Sort(lags)
	t.Logf("%s: %d revocations at %d nodes: p50 %s, p99 %s", name, n, len(s.revocations), lags[n/2].Round(time.Millisecond/10), lags[n-1].Round(time.Millisecond/10))
	if lags[n-1] >= time.Second {
		t.Errorf("%s: p99 %s", name, lags[n-1])
	}
}

// A revocation reaches every node in under a second: over PostgreSQL and Redis, with either frozen, and with either killed.
func TestReachOverRealServers(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	rd := redistest.Start(t, redistest.Options{})
	s := newSite(t, 3, pg.Database(t), rd.Address)
	time.Sleep(300 * time.Millisecond)
	s.reach(t, "both", 40)
	rd.Pause()
	s.reach(t, "Redis frozen", 5)
	rd.Resume()
	rd.Kill()
	s.reach(t, "Redis killed", 8)
	rd.Restart(t)
	waitFor(t, "the feed again", func() bool {
		got, err := s.revocations[0].Revoke(t.Context(), fleet.Revocation{Kind: fleet.ByToken, Issuer: "a", Token: fmt.Sprint(time.Now())})
		return err == nil && got.Told
	})
	time.Sleep(500 * time.Millisecond) // readers of the feed come back, too
	pg.Kill(t)
	s.reach(t, "PostgreSQL killed", 10)
	pg.Restart(t)
	waitFor(t, "everything kept", func() bool {
		for _, r := range s.revocations {
			if r.Status().Pending > 0 {
				return false
			}
		}
		list, err := s.stores[0].List(context.Background(), "revocation/", "", 1000)
		return err == nil && len(list) >= 40+5+8+1+10
	})
	thaw := pg.Freeze(t)
	s.reach(t, "PostgreSQL frozen", 3)
	thaw()
}

func waitFor(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !yes(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func embedded(t *testing.T) store.Durable {
	t.Helper()
	raw, err := secret.New(make([]byte, 32), "test")
	if err != nil {
		t.Fatal(err)
	}
	d, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "s", "store.db"), Now: time.Now, Key: func() (secret.Value, []secret.Value) { return raw, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// Leases, jobs and nodes over the stores that there are.
func TestOverRealStores(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) store.Durable{"embedded": embedded, "PostgreSQL": func(t *testing.T) store.Durable {
		db, err := postgres.Open(t.Context(), postgres.Options{Config: pgtest.Start(t).Database(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a, b := fleet.NewLeases(d, "a", time.Second, time.Now), fleet.NewLeases(d, "b", time.Second, time.Now)
			one, err := a.Acquire(ctx, "x")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Acquire(ctx, "x"); !errors.Is(err, fleet.ErrHeld) {
				t.Error(err)
			}
			if err := one.WriteAll(ctx, store.Write{Key: "work/1", Value: []byte("a")}); err != nil {
				t.Error(err)
			}
			if err := one.WriteAll(ctx, store.Write{Key: "work/1", Value: []byte("a")}); !errors.Is(err, store.ErrConflict) || one.Context().Err() != nil {
				t.Error(err)
			}
			time.Sleep(1200 * time.Millisecond)
			if err := one.WriteAll(ctx); err != nil {
				t.Error("not renewed:", err)
			}
			if err := one.Release(ctx); err != nil {
				t.Error(err)
			}
			two, err := b.Acquire(ctx, "x")
			if err != nil || two.Token() != 2 {
				t.Fatal(err)
			}
			if err := one.WriteAll(ctx, store.Write{Key: "work/2", Value: []byte("late")}); !errors.Is(err, fleet.ErrLost) {
				t.Error(err)
			}
			jobsAndNodes(t, ctx, d)
		})
	}
}

func jobsAndNodes(t *testing.T, ctx context.Context, d store.Durable) {
	var runs, at atomic.Int64
	var status func() (fleet.Status, error)
	for _, name := range []string{"a", "b", "c"} {
		self := fleet.Identity{ID: "id" + name, Name: name, Started: time.Now()}
		job := fleet.Job{Name: "count", Every: time.Second, Run: func(context.Context) error {
			if at.Add(1) > 1 {
				t.Error("twice at once")
			}
			runs.Add(1)
			time.Sleep(100 * time.Millisecond)
			at.Add(-1)
			return nil
		}}
		jobs, err := fleet.NewJobs([]fleet.Job{job}, fleet.JobTools{Durable: d, Node: self, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		nodes := fleet.NewNodes(fleet.Config{Heartbeat: 500 * time.Millisecond}, self, fleet.NodeTools{Durable: d, Now: time.Now,
			Report: func() fleet.Report { return fleet.Report{Ready: true, Document: fleet.Document{Hash: "h"}} }})
		go jobs.Run(ctx)
		go nodes.Run(ctx)
		status = func() (fleet.Status, error) { return nodes.Status(ctx, jobs) }
	}
	began := time.Now()
	time.Sleep(3500 * time.Millisecond)
	s, err := status()
	if err != nil || len(s.Nodes) != 3 || s.Drift || len(s.Findings) > 0 || len(s.Jobs) != 1 || s.Jobs[0].Last.Slot != runs.Load() {
		t.Errorf("%+v %v", s, err)
	}
	if n, took := runs.Load(), time.Since(began); n < 2 || n > 2+int64(took/time.Second) {
		t.Errorf("%d runs in %s", n, took)
	}
}
