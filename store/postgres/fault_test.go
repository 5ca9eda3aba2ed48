package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// points is how often an accident is tried: few times always, many with GATEHOUSE_SOAK=1.
func points(few, many int) int {
	if os.Getenv("GATEHOUSE_SOAK") == "1" {
		return many
	}
	return few
}

// until asks again while the store is not available.
func until(t *testing.T, limit time.Duration, do func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("after %s: %v", limit, err)
		}
	}
}

func quick(c store.Config) store.Config {
	c.Timeouts = store.Timeouts{Connect: 500 * time.Millisecond, Call: time.Second}
	return c
}

// A machine that hangs keeps its connections and answers nothing: every call ends in bounded time with ErrUnavailable,
// however many there are, and when the machine goes on so does the store, by itself (row I7).
func TestAServerThatHangs(t *testing.T) {
	s := shared
	c := quick(s.Database(t))
	c.Timeouts.Call = 500 * time.Millisecond
	c.MaxConnections = 3
	db, ctx := opened(t, c), context.Background()
	exercise(t, db)
	thaw := s.Freeze(t)
	began := time.Now()
	var all sync.WaitGroup
	for i := range 12 { // more than there are connections
		all.Go(func() {
			for name, call := range map[string]func() error{
				"get":   func() error { _, err := db.Get(ctx, "y"); return err },
				"write": func() error { _, err := db.Write(ctx, store.Write{Key: fmt.Sprint(i), Value: []byte("x")}); return err },
				"all":   func() error { return db.WriteAll(ctx, store.Write{Key: fmt.Sprint(i), Value: []byte("x")}) },
				"ping":  func() error { return db.Ping(ctx) },
			} {
				at := time.Now()
				if err := call(); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(at); took > time.Second {
					t.Errorf("%s took %s, and its bound is 500ms", name, took)
				}
			}
		})
	}
	all.Wait()
	if _, err := postgres.Open(ctx, postgres.Options{Config: c}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
	t.Logf("hung for %s", time.Since(began))
	thaw()
	until(t, 5*time.Second, func() error { return db.Ping(ctx) })
	thaw = s.Freeze(t)
	began = time.Now()
	if err := db.Close(); err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("closed after %s: %v", time.Since(began), err)
	}
	thaw()
}

// kill -9 of the whole server at any moment of many writes: what was acknowledged is there afterwards, what was written
// together is there together or not at all, and the store goes on by itself (row I14).
func TestKilledWhileWriting(t *testing.T) {
	s := shared
	c := quick(s.Database(t))
	ctx := context.Background()
	db := opened(t, c)
	random := rand.New(rand.NewPCG(1, 2))
	var acknowledged sync.Map
	for point := range points(10, 200) {
		var stop atomic.Bool
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for n := 0; !stop.Load(); n++ {
					a, b := fmt.Sprintf("pair/%d/%d/%d/a", point, w, n), fmt.Sprintf("pair/%d/%d/%d/b", point, w, n)
					err := db.WriteAll(ctx, store.Write{Key: b, Value: []byte("x")}, store.Write{Key: a, Value: []byte("x")})
					if err == nil {
						acknowledged.Store(a, true)
						acknowledged.Store(b, true)
					} else if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%v", err)
						return
					} else {
						time.Sleep(10 * time.Millisecond)
					}
				}
			})
		}
		time.Sleep(time.Duration(5+random.IntN(60)) * time.Millisecond)
		s.Kill(t)
		stop.Store(true)
		all.Wait()
		s.Restart(t)
		until(t, 5*time.Second, func() error { return db.Ping(ctx) })
	}
	there := map[string]bool{}
	for after := ""; ; {
		list, err := db.List(ctx, "pair/", after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			there[r.Key] = true
			after = r.Key
		}
		if len(list) == 0 {
			break
		}
	}
	count := 0
	acknowledged.Range(func(key, _ any) bool {
		count++
		if !there[key.(string)] {
			t.Errorf("%s was acknowledged and is lost", key)
		}
		return true
	})
	for key := range there {
		if other := strings.TrimSuffix(strings.TrimSuffix(key, "a"), "b"); !there[other+"a"] || !there[other+"b"] {
			t.Errorf("half of %s is there", other)
		}
	}
	if count < 10 {
		t.Errorf("only %d writes were acknowledged", count)
	}
	t.Logf("%d acknowledged, %d there", count, len(there))
}

// A replica is promoted in the middle of many transactions. Commits waited for it, so nothing acknowledged is lost, and the
// nodes find it by themselves among the hosts of their URL. A follower misses nothing either, though its mark is of the
// history that ended.
func TestAReplicaIsPromoted(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	c := quick(primary.Database(t))
	ctx := context.Background()
	opened(t, c) // the schema
	replica := primary.Replica(t)
	primary.Synchronous(t, "replica")
	both := c
	both.URL = strings.Replace(c.URL, primary.Address(), primary.Address()+","+replica.Address(), 1)
	reversed := c
	reversed.URL = strings.Replace(c.URL, primary.Address(), replica.Address()+","+primary.Address(), 1)

	nodes := []*postgres.DB{opened(t, both), opened(t, reversed)}
	var acknowledged sync.Map
	var count atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	for w := range 6 {
		all.Go(func() {
			for n := 0; !stop.Load(); n++ {
				key := fmt.Sprintf("k/%d/%d", w, n)
				err := nodes[w%2].WriteAll(ctx, store.Write{Key: key + "/a", Value: []byte("x")}, store.Write{Key: key + "/b", Value: []byte("x")})
				if err == nil {
					acknowledged.Store(key, true)
					count.Add(1)
				} else if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%v", err)
					return
				} else {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	follower, seen, mark := nodes[0], map[string]bool{}, ""
	follow := func() error {
		changed, next, err := follower.Since(ctx, "k/", mark)
		if err != nil {
			return err
		}
		for _, r := range changed {
			seen[r.Key] = true
		}
		mark = next
		return nil
	}
	for ; count.Load() < 200; time.Sleep(5 * time.Millisecond) {
		if err := follow(); err != nil {
			t.Fatal(err)
		}
	}
	primary.Kill(t)
	before := count.Load()
	replica.Promote(t)
	until(t, 10*time.Second, follow)
	for deadline := time.Now().Add(10 * time.Second); count.Load() < before+100; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the nodes do not write to the new primary")
		}
	}
	stop.Store(true)
	all.Wait()
	until(t, 5*time.Second, follow)
	acknowledged.Range(func(key, _ any) bool {
		for _, part := range []string{"/a", "/b"} {
			if _, err := nodes[1].Get(ctx, key.(string)+part); err != nil {
				t.Errorf("%s%s was acknowledged: %v", key, part, err)
			}
			if !seen[key.(string)+part] {
				t.Errorf("the follower missed %s%s", key, part)
			}
		}
		return true
	})
	if before < 200 {
		t.Errorf("only %d writes before the promotion", before)
	}
	t.Logf("%d acknowledged before, %d after", before, count.Load()-before)
}

// Without its replica a commit waits; in bounded time the caller learns that. An administrator who ends the wait makes the
// server say that all is well, with a warning beside it: that is not an acknowledgement.
func TestACommitWithoutItsReplica(t *testing.T) {
	s := shared
	c := quick(s.Database(t))
	db, ctx := opened(t, c), context.Background()
	if _, err := db.Write(ctx, store.Write{Key: "a", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	s.Synchronous(t, "")
	s.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`, `SELECT pg_reload_conf()`)
	defer s.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = ''`, `SELECT pg_reload_conf()`)
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	if err := db.Ping(ctx); !errors.Is(err, store.ErrUnavailable) || time.Since(began) > 1500*time.Millisecond {
		t.Errorf("ping: %v after %s", err, time.Since(began))
	}
	admin := s.Connect(t, "postgres")
	for name, write := range map[string]func() error{
		"one": func() error {
			_, err := db.Write(ctx, store.Write{Key: "a", Value: []byte("y"), Version: store.Any})
			return err
		},
		"all": func() error {
			return db.WriteAll(ctx, store.Write{Key: "b", Value: []byte("y"), Version: store.Any}, store.Write{Key: "c", Value: []byte("y"), Version: store.Any})
		},
	} {
		answer := make(chan error, 1)
		go func() { answer <- write() }()
		for ended := false; !ended; time.Sleep(10 * time.Millisecond) {
			var n int
			if err := admin.QueryRow(ctx, `SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query NOT LIKE '%history%'`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			ended = n > 0
			select {
			case err := <-answer:
				answer <- err
				ended = true
			default:
			}
		}
		if err := <-answer; !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "replica has not confirmed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = ''`, `SELECT pg_reload_conf()`)
	until(t, 5*time.Second, func() error { return db.Ping(ctx) })
}

// A server that takes no writes any longer is left, with words, and found again when it does.
func TestAServerThatTakesNoWrites(t *testing.T) {
	c := quick(shared.Database(t))
	db, ctx := opened(t, c), context.Background()
	if err := db.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	defer shared.Exec(t, "postgres", `SET default_transaction_read_only = off`, `ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`)
	shared.Exec(t, "postgres", `ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := db.Write(ctx, store.Write{Key: "a", Value: []byte("x"), Version: store.Any})
		if err != nil {
			if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "takes no writes") {
				t.Error(err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server still takes writes")
		}
	}
	if err := db.Ping(ctx); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "name the primary") {
		t.Errorf("ping: %v", err)
	}
	if _, err := postgres.Open(ctx, postgres.Options{Config: c}); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "name the primary") {
		t.Errorf("open: %v", err)
	}
	shared.Exec(t, "postgres", `SET default_transaction_read_only = off`, `ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`)
	until(t, 5*time.Second, func() error { return db.Ping(ctx) })
}

// cutter is a network that cuts connections after a number of bytes, in either direction.
type cutter struct {
	mu     sync.Mutex
	random *rand.Rand
	calm   atomic.Bool
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	left := &atomic.Int64{}
	left.Store(int64(3000 + c.random.IntN(12000))) // a handshake with TLS takes about 3000
	return &cutConn{Conn: conn, left: left, cutter: c}, nil
}

type cutConn struct {
	net.Conn
	left   *atomic.Int64
	cutter *cutter
}

var errCut = errors.New("cut")

func (c *cutConn) Write(p []byte) (int, error) {
	if left := c.left.Add(-int64(len(p))); left < 0 && !c.cutter.calm.Load() {
		n, _ := c.Conn.Write(p[:max(0, len(p)+int(left))])
		_ = c.Conn.Close()
		return n, errCut
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.left.Add(-int64(n)) < 0 && !c.cutter.calm.Load() {
		_ = c.Conn.Close()
		return 0, errCut // what was on its way is lost
	}
	return n, err
}

// Connections are cut at random bytes while writers append to one record. Whether a write was done is then unknown, and the
// version tells: asking again with the same version either does it or finds it done. Nothing is lost, nothing is twice.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	for round := range points(1, 40) {
		c := quick(shared.Database(t))
		opened(t, c) // the schema, over a good network
		network := &cutter{random: rand.New(rand.NewPCG(uint64(round), 7))}
		var all sync.WaitGroup
		var unknown, calls atomic.Int64
		mine := make([][]string, 3)
		for w := range mine {
			var db *postgres.DB
			until(t, 10*time.Second, func() (err error) {
				db, err = postgres.Open(context.Background(), postgres.Options{Config: c, Dial: network.dial})
				return err
			})
			t.Cleanup(func() { _ = db.Close() })
			all.Go(func() {
				for n := range 60 {
					id := fmt.Sprintf("%d-%d", w, n)
					if appendTo(t, db, id, &calls, &unknown) {
						mine[w] = append(mine[w], id)
					}
				}
			})
		}
		all.Wait()
		network.calm.Store(true)
		db := opened(t, c)
		r, err := db.Get(context.Background(), "list")
		if err != nil {
			t.Fatal(err)
		}
		there := strings.Fields(string(r.Value))
		if int64(len(there)) != r.Version {
			t.Errorf("version %d has %d entries: two writers won one version", r.Version, len(there))
		}
		for _, id := range slices.Concat(mine...) {
			if n := len(slices.DeleteFunc(slices.Clone(there), func(s string) bool { return s != id })); n != 1 {
				t.Errorf("%s is there %d times", id, n)
			}
		}
		if len(there) != 180 {
			t.Errorf("%d entries, want 180", len(there))
		}
		if unknown.Load() == 0 {
			t.Error("no connection was cut in a write")
		}
		t.Logf("%d writes, %d of unknown outcome", calls.Load(), unknown.Load())
	}
}

// lateCut is a network that, once told to, loses the answer after a number of answers: what was asked has reached the server.
type lateCut struct{ answers atomic.Int64 } // that still come; below 0 all do

func (c *lateCut) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return &lateCutConn{conn, c}, err
}

type lateCutConn struct {
	net.Conn
	network *lateCut
}

func (c *lateCutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if left := &c.network.answers; err == nil && left.Load() >= 0 && left.Add(-1) < 0 {
		_ = c.Conn.Close()
		return 0, errCut
	}
	return n, err
}

// A write whose answer is lost is never made again by the store itself: it may have been done, so a record that was not there
// would seem to be another's, and one written over would count up twice. It is ErrUnavailable, and the caller asks what is there.
func TestAnAnswerThatIsLost(t *testing.T) {
	t.Parallel()
	c, ctx := quick(shared.Database(t)), context.Background()
	opened(t, c)
	for name, write := range map[string]func(*postgres.DB, store.Write) error{
		"one": func(db *postgres.DB, w store.Write) error { _, err := db.Write(ctx, w); return err },
		"all": func(db *postgres.DB, w store.Write) error {
			return db.WriteAll(ctx, w, store.Write{Key: w.Key + "/beside", Value: []byte("x"), Version: w.Version})
		},
	} {
		for _, version := range []int64{0, store.Any} {
			lost, done := 0, 0
			for answers := int64(0); ; answers++ {
				network := &lateCut{}
				network.answers.Store(-1)
				db := openedWith(t, postgres.Options{Config: c, Dial: network.dial})
				key := fmt.Sprintf("lost/%s/%d/%d", name, version, answers)
				network.answers.Store(answers)
				err := write(db, store.Write{Key: key, Value: []byte("x"), Version: version})
				all := network.answers.Swap(-1) >= 0
				if err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s over version %d, cut after %d answers: %v", name, version, answers, err)
				}
				r, there := db.Get(ctx, key)
				switch {
				case there == nil && r.Version != 1:
					t.Errorf("%s over version %d, cut after %d answers: written %d times", name, version, answers, r.Version)
				case err == nil && there != nil:
					t.Errorf("%s: acknowledged after %d answers and lost", name, answers)
				case err != nil:
					lost++
					if there == nil {
						done++
					}
				}
				_ = db.Close()
				if all {
					break // it needed no more than these
				}
			}
			t.Logf("%s over version %d: %d times the answer was lost, %d times of a write that was done", name, version, lost, done)
			if done == 0 {
				t.Errorf("%s over version %d: no answer of a write that was done was lost", name, version)
			}
		}
	}
}

// appendTo adds an entry to the record until it is known to be there.
func appendTo(t *testing.T, db *postgres.DB, id string, calls, unknown *atomic.Int64) bool {
	ctx := context.Background()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		r, err := db.Get(ctx, "list")
		if err != nil && !errors.Is(err, store.ErrNone) {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("get: %v", err)
			}
			continue
		}
		if slices.Contains(strings.Fields(string(r.Value)), id) {
			return true // the write whose outcome was unknown
		}
		calls.Add(1)
		_, err = db.Write(ctx, store.Write{Key: "list", Value: []byte(string(r.Value) + id + " "), Version: r.Version})
		switch {
		case err == nil:
			return true
		case errors.Is(err, store.ErrUnavailable):
			unknown.Add(1)
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("write: %v", err)
			return false
		}
	}
	t.Errorf("%s could not be written in 20s", id)
	return false
}
