package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

func put(t *testing.T, db *postgres.DB, key string) {
	t.Helper()
	if _, err := db.Write(context.Background(), store.Write{Key: key, Value: []byte("x"), Version: store.Any}); err != nil {
		t.Fatal(err)
	}
}

func changed(t *testing.T, db *postgres.DB, mark string) ([]string, string) {
	t.Helper()
	list, next, err := db.Since(context.Background(), "", mark)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, r := range list {
		keys = append(keys, r.Key)
	}
	slices.Sort(keys)
	return keys, next
}

// A transaction that got its number early and ends late is told to a follower who has long seen later ones, and until it
// ends the follower is told the later ones again.
func TestAnEarlyNumberThatEndsLate(t *testing.T) {
	c, ctx := shared.Database(t), context.Background()
	db := opened(t, c)
	conn := shared.Connect(t, c.URL[strings.LastIndex(c.URL, "/")+1:])
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO gatehouse.record VALUES ('early', 'x', 1, NULL, NULL, pg_current_xact_id()::text::bigint)`); err != nil {
		t.Fatal(err)
	}
	put(t, db, "late")
	keys, mark := changed(t, db, "")
	if !slices.Equal(keys, []string{"late"}) {
		t.Errorf("before: %q", keys)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if keys, mark = changed(t, db, mark); !slices.Contains(keys, "early") {
		t.Errorf("after: %q", keys)
	}
	if keys, _ = changed(t, db, mark); len(keys) != 0 {
		t.Errorf("told again and again: %q", keys)
	}
}

// A crash gives out again the numbers of transactions that left no trace. A mark that had counted them would hide what is
// written with them afterwards.
func TestNumbersGivenOutTwice(t *testing.T) {
	s := shared
	c := s.Database(t)
	db, ctx := opened(t, c), context.Background()
	database := c.URL[strings.LastIndex(c.URL, "/")+1:]
	for range 5 {
		put(t, db, "before")
		_, mark := changed(t, db, "")
		conn := s.Connect(t, database)
		var highest, reused int64
		for range 50 {
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.QueryRow(ctx, `SELECT pg_current_xact_id()::text::bigint`).Scan(&highest); err != nil {
				t.Fatal(err)
			}
			if err := tx.Rollback(ctx); err != nil {
				t.Fatal(err)
			}
		}
		_, mark = changed(t, db, mark)
		s.Kill(t)
		s.Restart(t)
		until(t, 5*time.Second, func() error { return db.Ping(ctx) })
		put(t, db, "after")
		if err := s.Connect(t, database).QueryRow(ctx, `SELECT written FROM gatehouse.record WHERE key = 'after'`).Scan(&reused); err != nil {
			t.Fatal(err)
		}
		if keys, _ := changed(t, db, mark); !slices.Contains(keys, "after") {
			t.Fatalf("number %d, given out before up to %d, hides what it wrote: %q after %s", reused, highest, keys, mark)
		}
		if reused <= highest {
			return
		}
	}
	t.Error("the server never gave out a number twice: this test shows nothing")
}

// A dump is made while the store is in use and restored into an empty server of another history: all that was acknowledged
// before is there as it was, and a follower who begins again misses nothing, though the numbers are smaller there.
func TestDumpAndRestore(t *testing.T) {
	t.Parallel()
	source, target := shared, pgtest.Start(t)
	c, ctx := source.Database(t), context.Background()
	db := opened(t, c)
	url, err := store.ParsePostgres(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	// Numbers far beyond those of a new server.
	source.Exec(t, url.Database, `DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`)
	for i := range 200 {
		w := store.Write{Key: fmt.Sprintf("k/%03d", i), Value: []byte{byte(i), 0, 0xff}}
		if i%3 == 0 {
			w.Expires = time.Now().Add(time.Hour)
		}
		if _, err := db.Write(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	put(t, db, "k/007")
	want, err := db.List(ctx, "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	_, mark := changed(t, db, "")

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // in use meanwhile
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, _ = db.Write(ctx, store.Write{Key: fmt.Sprintf("meanwhile/%d", i), Value: []byte("x")})
			}
		}
	}()
	dump := source.Command("pg_dump", "--format=custom", "--schema=gatehouse", "--no-owner", "--no-privileges", url.Database) // as README.md has it
	archive, err := dump.Output()
	close(stop)
	<-stopped
	if err != nil || len(archive) == 0 {
		t.Fatalf("pg_dump: %v", err)
	}
	if strings.Contains(string(archive), pgtest.Password) {
		t.Error("the dump has the password")
	}

	empty := target.EmptyDatabase(t)
	target.Exec(t, "postgres", `ALTER DATABASE `+empty+` OWNER TO `+pgtest.Role)
	restore := target.Command("pg_restore", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", "--username="+pgtest.Role, "--dbname="+empty)
	restore.Stdin = strings.NewReader(string(archive))
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("pg_restore: %v\n%s", err, out)
	}
	again := opened(t, target.Config(t, empty))
	got, err := again.List(ctx, "k/", "", 1000)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d records, want %d, %v", len(got), len(want), err)
	}
	for i := range want {
		if got[i].Key != want[i].Key || string(got[i].Value) != string(want[i].Value) || got[i].Version != want[i].Version || !got[i].Expires.Equal(want[i].Expires) {
			t.Fatalf("%+v, want %+v", got[i], want[i])
		}
	}
	if keys, _ := changed(t, again, mark); len(keys) < 200 {
		t.Errorf("a mark of another server hides records: %d", len(keys))
	}
	_, next := changed(t, again, "")
	if keys, _ := changed(t, again, next); len(keys) != 0 {
		t.Errorf("%d records are told again and again", len(keys))
	}
	put(t, again, "new")
	if keys, _ := changed(t, again, next); !slices.Contains(keys, "new") {
		t.Errorf("a follower misses what is written after the restore: %q", keys)
	}
	exercise(t, opened(t, target.Database(t)))
}

// Two nodes whose clocks are an hour apart, in either direction: the server's clock decides, so a lock of one is not taken
// by the other early, ends in time for both, and each sees its end by its own clock.
func TestClocksAnHourApart(t *testing.T) {
	t.Parallel()
	c, ctx := shared.Database(t), context.Background()
	offset := func(d time.Duration) (func() time.Time, *postgres.DB) {
		now := func() time.Time { return time.Now().Add(d) }
		return now, openedWith(t, postgres.Options{Config: c, Now: now})
	}
	right, a := offset(0)
	ahead, b := offset(time.Hour)
	behind, d := offset(-time.Hour)
	nodes := []struct {
		name string
		now  func() time.Time
		db   *postgres.DB
	}{{"right", right, a}, {"ahead", ahead, b}, {"behind", behind, d}}
	for _, owner := range nodes {
		key := "lease/" + owner.name
		if _, err := owner.db.Write(ctx, store.Write{Key: key, Value: []byte("x"), Expires: owner.now().Add(700 * time.Millisecond)}); err != nil {
			t.Fatal(err)
		}
		for _, other := range nodes {
			if _, err := other.db.Write(ctx, store.Write{Key: key, Value: []byte("y")}); !errors.Is(err, store.ErrConflict) {
				t.Errorf("%s takes the lease of %s: %v", other.name, owner.name, err)
			}
			r, err := other.db.Get(ctx, key)
			if err != nil {
				t.Fatalf("%s does not see the lease of %s: %v", other.name, owner.name, err)
			}
			if left := r.Expires.Sub(other.now()); left < -time.Second || left > 2*time.Second {
				t.Errorf("%s sees the lease of %s end in %s", other.name, owner.name, left)
			}
		}
	}
	time.Sleep(750 * time.Millisecond)
	for i, owner := range nodes {
		if v, err := nodes[(i+1)%3].db.Write(ctx, store.Write{Key: "lease/" + owner.name, Value: []byte("z")}); err != nil || v != 1 {
			t.Errorf("the lease of %s has not ended: version %d, %v", owner.name, v, err)
		}
	}
}

// A node's clock that jumps, forward or back, neither ends nor keeps anything.
func TestANodesClockJumps(t *testing.T) {
	t.Parallel()
	c, ctx := shared.Database(t), context.Background()
	var jump time.Duration
	db := openedWith(t, postgres.Options{Config: c, Now: func() time.Time { return time.Now().Add(jump) }})
	if _, err := db.Write(ctx, store.Write{Key: "a", Value: []byte("x"), Expires: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	for _, jump = range []time.Duration{24 * time.Hour, -24 * time.Hour, 50 * 365 * 24 * time.Hour} {
		r, err := db.Get(ctx, "a")
		if err != nil {
			t.Fatalf("after a jump of %s: %v", jump, err)
		}
		if left := r.Expires.Sub(time.Now().Add(jump)); left < 50*time.Second || left > time.Minute {
			t.Errorf("after a jump of %s it ends in %s", jump, left)
		}
	}
	jump = 0
	for _, far := range []time.Time{time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if _, err := db.Write(ctx, store.Write{Key: "far", Value: []byte("x"), Version: store.Any, Expires: far}); err != nil {
			t.Errorf("%s: %v", far, err)
		}
	}
	for _, odd := range []time.Time{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if _, err := db.Write(ctx, store.Write{Key: "odd", Value: []byte("x"), Expires: odd}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", odd, err)
		}
	}
}

// What has expired is removed in batches, by itself too; what has not stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	c, ctx := shared.Database(t), context.Background()
	db := openedWith(t, postgres.Options{Config: c, Sweep: -1})
	var all []store.Write
	for i := range 30 {
		all = append(all, store.Write{Key: fmt.Sprintf("old/%d", i), Value: []byte("x"), Expires: time.Now().Add(-time.Second)})
	}
	all = append(all, store.Write{Key: "stays", Value: []byte("x")}, store.Write{Key: "later", Value: []byte("x"), Expires: time.Now().Add(time.Hour)})
	if err := db.WriteAll(ctx, all...); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{20, 10, 0} {
		if n, err := db.Sweep(ctx, 20); err != nil || n != want {
			t.Errorf("%d removed, want %d, %v", n, want, err)
		}
	}
	if list, err := db.List(ctx, "", "", 100); err != nil || len(list) != 2 {
		t.Errorf("%d records, %v", len(list), err)
	}
	if err := db.WriteAll(ctx, store.Write{Key: "old/1", Value: []byte("x"), Expires: time.Now().Add(-time.Second)}); err != nil {
		t.Fatal(err)
	}
	openedWith(t, postgres.Options{Config: c, Sweep: 20 * time.Millisecond})
	database := c.URL[strings.LastIndex(c.URL, "/")+1:]
	conn := shared.Connect(t, database)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var n int
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM gatehouse.record`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d rows are left", n)
		}
	}
}

// Marks that are read are marks that were written, to the letter.
func FuzzMark(f *testing.F) {
	for _, s := range []string{"", "0.0.0", "65f1c0ffee.1.731", "ffffffffffffffff.7fffffff.1", "-1.1.1", "1.2", "01.1.1", "1.1.-1", "+1.1.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, mark string) {
		_, _, number, err := postgres.ParseMark(mark)
		if err == nil && (number < 0 || mark != "" && strings.Count(mark, ".") != 2) {
			t.Errorf("%q was taken", mark)
		}
		if err != nil && !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: %v", mark, err)
		}
	})
}

// A replica is promoted that lacks the last transactions of the primary, since nobody waited for it. Their numbers are given
// out again: a follower's mark is of a history that never was, and hides nothing.
func TestAHistoryThatNeverWas(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	c := quick(primary.Database(t))
	ctx := context.Background()
	opened(t, c)
	replica := primary.Replica(t)
	both := c
	both.URL = strings.Replace(c.URL, primary.Address(), primary.Address()+","+replica.Address(), 1)
	db := opened(t, both)
	put(t, db, "kept")
	primary.Synchronous(t, "replica") // until here the replica has everything
	put(t, db, "kept-too")
	primary.Synchronous(t, "")
	replica.Kill(t)
	for i := range 50 {
		put(t, db, fmt.Sprintf("lost/%d", i))
	}
	_, mark := changed(t, db, "")
	primary.Kill(t)
	replica.Restart(t)
	replica.Promote(t)
	until(t, 10*time.Second, func() error { return db.Ping(ctx) })
	put(t, db, "new")
	keys, next := changed(t, db, mark)
	if !slices.Contains(keys, "new") || !slices.Contains(keys, "kept") || slices.Contains(keys, "lost/49") {
		t.Errorf("after the promotion: %q", keys)
	}
	if keys, _ := changed(t, db, next); len(keys) != 0 {
		t.Errorf("told again and again: %q", keys)
	}
}
