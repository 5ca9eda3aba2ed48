package kept_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey/kept"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

var server *pgtest.Server

func TestMain(m *testing.M) {
	s, err := pgtest.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = s
	code := m.Run()
	s.Remove()
	os.Exit(code)
}

// durable is the whole adapter that a durable store needs, with a switch that makes it unreachable.
type durable struct {
	store.Durable
	gone *atomic.Bool
}

func (d durable) Get(ctx context.Context, key string) (kept.Record, error) {
	if d.gone.Load() {
		return kept.Record{}, store.ErrUnavailable
	}
	r, err := d.Durable.Get(ctx, key)
	return kept.Record(r), err
}

func (d durable) WriteAll(ctx context.Context, all ...kept.Write) error {
	if d.gone.Load() {
		return store.ErrUnavailable
	}
	list := make([]store.Write, len(all))
	for i, w := range all {
		list[i] = store.Write(w)
	}
	return d.Durable.WriteAll(ctx, list...)
}

func (d durable) List(ctx context.Context, prefix, after string, limit int) ([]kept.Record, error) {
	if d.gone.Load() {
		return nil, store.ErrUnavailable
	}
	list, err := d.Durable.List(ctx, prefix, after, limit)
	return records(list), err
}

func (d durable) Since(ctx context.Context, prefix, mark string) ([]kept.Record, string, error) {
	if d.gone.Load() {
		return nil, "", store.ErrUnavailable
	}
	list, next, err := d.Durable.Since(ctx, prefix, mark)
	return records(list), next, err
}

func records(list []store.Record) []kept.Record {
	out := make([]kept.Record, len(list))
	for i, r := range list {
		out[i] = kept.Record(r)
	}
	return out
}

const day = 24 * time.Hour

// clock is a time that tests set. It begins now, since a server judges by its own what has expired.
type clock struct {
	began time.Time
	after atomic.Int64
}

func newClock() *clock                   { return &clock{began: time.Now().UTC().Truncate(time.Second)} }
func (c *clock) now() time.Time          { return c.began.Add(time.Duration(c.after.Load())) }
func (c *clock) set(after time.Duration) { c.after.Store(int64(after)) }

// both runs a test over each store that is durable; open opens the same one again, as another node does.
func both(t *testing.T, test func(t *testing.T, c *clock, open func(t *testing.T) store.Durable)) {
	t.Run("sqlite", func(t *testing.T) {
		c, path := newClock(), filepath.Join(t.TempDir(), "store.db")
		test(t, c, func(t *testing.T) store.Durable { return file(t, path, c.now) })
	})
	t.Run("postgres", func(t *testing.T) {
		config := server.Database(t)
		test(t, newClock(), func(t *testing.T) store.Durable {
			db, err := postgres.Open(t.Context(), postgres.Options{Config: config})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		})
	})
}

func file(t *testing.T, path string, now func() time.Time) store.Durable {
	t.Helper()
	key, err := secret.New(bytes.Repeat([]byte{7}, 32), "key")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Key: func() (secret.Value, []secret.Value) { return key, nil }, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func node(t *testing.T, in store.Durable, gone *atomic.Bool, now func() time.Time) *kept.Keys {
	t.Helper()
	k := kept.New(durable{in, gone}, kept.Errors{None: store.ErrNone, Conflict: store.ErrConflict, Invalid: store.ErrInvalid}, kept.Options{Digest: []byte("k"), Rand: rand.Reader, Now: now})
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

func wanted(c *clock, life time.Duration) apikey.Key {
	return apikey.Key{Owner: "billing", Scopes: []string{"orders:read"}, APIs: []string{"shop"}, Expires: c.now().Add(life), By: "ann", Why: "reports"}
}

func create(t *testing.T, k *kept.Keys, c *clock, life time.Duration) (apikey.Key, string) {
	t.Helper()
	made, key, err := k.Create(t.Context(), wanted(c, life))
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// opens tells whether a key opens an API on a node.
func opens(k *kept.Keys, c *clock, key string) bool {
	e := k.Find(apikey.DigestOf(key))
	return e != nil && e.Revoked == nil && c.now().Before(e.Expires)
}

// A key that is made, rotated or revoked on one node is so on every node; the log says how soon.
func TestEveryNode(t *testing.T) {
	both(t, func(t *testing.T, c *clock, open func(t *testing.T) store.Durable) {
		var nodes []*kept.Keys
		for range 2 {
			k := node(t, open(t), new(atomic.Bool), c.now)
			ctx, end := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); k.Run(ctx) }()
			t.Cleanup(func() { end(); <-done })
			nodes = append(nodes, k)
		}
		until := func(what string, holds func() bool) {
			t.Helper()
			began := time.Now()
			for !holds() {
				if time.Since(began) > 20*time.Second {
					t.Fatalf("%s: not within 20 s", what)
				}
				time.Sleep(5 * time.Millisecond)
			}
			t.Logf("%s after %s", what, time.Since(began).Round(time.Millisecond))
		}
		made, key := create(t, nodes[0], c, 90*day)
		if !opens(nodes[0], c, key) {
			t.Fatal("it doesn't open the node that made it")
		}
		until("made on one, opens the other", func() bool { return opens(nodes[1], c, key) })
		next, old, nextKey, err := nodes[1].Rotate(t.Context(), made.ID, time.Hour, time.Time{}, "bob", "")
		if err != nil || old.Next != next.ID || next.Replaces != old.ID || !old.Expires.Equal(c.now().Add(time.Hour)) || !next.Expires.Equal(made.Expires) || next.Owner != "billing" || next.Why != "reports" || next.By != "bob" {
			t.Fatalf("%+v %+v %v", next, old, err)
		}
		until("rotated on one, both open the other", func() bool { return opens(nodes[0], c, nextKey) && opens(nodes[0], c, key) })
		if e := nodes[0].ByID(made.ID); !e.Expires.Equal(old.Expires) {
			until("and the old one ends", func() bool { return nodes[0].ByID(made.ID).Expires.Equal(old.Expires) })
		}
		if _, err := nodes[0].Revoke(t.Context(), next.ID, "bob", "seen in a log"); err != nil || opens(nodes[0], c, nextKey) {
			t.Fatal(err)
		}
		until("revoked on one, gone on the other", func() bool { return !opens(nodes[1], c, nextKey) })
		if !opens(nodes[1], c, key) {
			t.Error("the other key is gone with it")
		}
	})
}

// The overlap is as long as was said, never longer than the key was good for, and none when that was said.
func TestRotation(t *testing.T) {
	both(t, func(t *testing.T, c *clock, open func(t *testing.T) store.Durable) {
		k := node(t, open(t), new(atomic.Bool), c.now)
		first, firstKey := create(t, k, c, 30*day)
		second, _, secondKey, err := k.Rotate(t.Context(), first.ID, 24*time.Hour, time.Time{}, "bob", "monthly")
		if err != nil || second.Why != "monthly" {
			t.Fatal(err)
		}
		c.set(24*time.Hour - time.Second)
		if !opens(k, c, firstKey) || !opens(k, c, secondKey) {
			t.Error("both open in the overlap")
		}
		if _, _, _, err := k.Rotate(t.Context(), first.ID, time.Hour, time.Time{}, "bob", ""); err == nil || !strings.Contains(err.Error(), second.ID) {
			t.Errorf("rotated twice: %v", err)
		}
		c.set(24 * time.Hour)
		if opens(k, c, firstKey) || !opens(k, c, secondKey) {
			t.Error("only the new one opens after it")
		}
		third, old, thirdKey, err := k.Rotate(t.Context(), second.ID, 0, c.now().Add(5*day), "bob", "")
		if err != nil || old.Revoked == nil || opens(k, c, secondKey) || !opens(k, c, thirdKey) || !third.Expires.Equal(c.now().Add(5*day)) {
			t.Errorf("%+v %+v %v", third, old, err)
		}
		if _, old, _, err = k.Rotate(t.Context(), third.ID, 100*day, time.Time{}, "bob", ""); err != nil || !old.Expires.Equal(third.Expires) {
			t.Errorf("an overlap makes no key live longer: %+v %v", old, err)
		}
		for _, id := range []string{second.ID, "aaaaaaaa"} {
			if _, _, _, err := k.Rotate(t.Context(), id, 0, time.Time{}, "bob", ""); !errors.Is(err, kept.ErrNone) {
				t.Errorf("%s: %v", id, err)
			}
		}
	})
}

// Of many rotations at once one counts, and there is one new key.
func TestRotatedAtOnce(t *testing.T) {
	both(t, func(t *testing.T, c *clock, open func(t *testing.T) store.Durable) {
		nodes := []*kept.Keys{node(t, open(t), new(atomic.Bool), c.now), node(t, open(t), new(atomic.Bool), c.now)}
		first, _ := create(t, nodes[0], c, 30*day)
		var won atomic.Int32
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if _, _, _, err := nodes[i%2].Rotate(t.Context(), first.ID, time.Hour, time.Time{}, "bob", ""); err == nil {
					won.Add(1)
				} else if !strings.Contains(err.Error(), "was rotated already") {
					t.Error(err)
				}
			})
		}
		all.Wait()
		list, err := nodes[0].List(t.Context())
		if err != nil || won.Load() != 1 || len(list) != 2 {
			t.Errorf("%d won, %d keys, %v", won.Load(), len(list), err)
		}
	})
}

// The key is nowhere in the store, and neither is its owner readable in the names of records.
func TestWhatIsKept(t *testing.T) {
	both(t, func(t *testing.T, c *clock, open func(t *testing.T) store.Durable) {
		db := open(t)
		k := node(t, db, new(atomic.Bool), c.now)
		made, key := create(t, k, c, 90*day)
		k.ByID(made.ID).Note(c.now())
		if err := k.NoteUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := db.List(t.Context(), "apikey", "", 10)
		if err != nil || len(all) != 2 {
			t.Fatal(len(all), err)
		}
		for _, r := range all {
			if strings.Contains(r.Key+string(r.Value), key[13:]) || strings.Contains(r.Key, made.ID) || strings.Contains(r.Key, "billing") {
				t.Errorf("%s: %s", r.Key, r.Value)
			}
			if !r.Expires.Equal(made.Expires.Add(30 * day)) {
				t.Errorf("%s expires %s", r.Key, r.Expires)
			}
		}
	})
}

// When a key was used is known to an hour on every node, and costs one write an hour.
func TestLastUse(t *testing.T) {
	both(t, func(t *testing.T, c *clock, open func(t *testing.T) store.Durable) {
		writes := &counting{Durable: open(t)}
		k, other := node(t, writes, new(atomic.Bool), c.now), node(t, open(t), new(atomic.Bool), c.now)
		made, _ := create(t, k, c, 90*day)
		create(t, k, c, 90*day) // never used
		before := writes.n.Load()
		for minute := range 180 {
			c.set(time.Duration(minute) * time.Minute)
			k.ByID(made.ID).Note(c.now())
			if err := k.NoteUses(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := writes.n.Load() - before; n != 3 {
			t.Errorf("%d writes in three hours", n)
		}
		list, err := other.List(t.Context())
		if err != nil || len(list) != 2 {
			t.Fatal(len(list), err)
		}
		for _, l := range list {
			want := c.began.Add(2 * time.Hour)
			if l.ID != made.ID {
				want = time.Time{}
			}
			if !l.LastUse.Equal(want) {
				t.Errorf("%s: used %s, want %s", l.ID, l.LastUse, want)
			}
		}
		if _, _, _, err := k.Rotate(t.Context(), made.ID, time.Hour, time.Time{}, "bob", ""); err != nil || k.ByID(made.ID).Used().IsZero() {
			t.Error("a change forgets the use:", err)
		}
	})
}

type counting struct {
	store.Durable
	n atomic.Int32
}

func (c *counting) WriteAll(ctx context.Context, all ...store.Write) error {
	c.n.Add(1)
	return c.Durable.WriteAll(ctx, all...)
}

// A key is told of before its end and after, unless its owner has another.
func TestEnds(t *testing.T) {
	c := newClock()
	k := node(t, file(t, filepath.Join(t.TempDir(), "store.db"), c.now), new(atomic.Bool), c.now)
	made, key := create(t, k, c, 60*day)
	for _, s := range []struct {
		after   time.Duration
		opens   bool
		finding string
	}{{0, true, ""}, {46*day - time.Second, true, ""}, {46 * day, true, "to replace it: gatehouse apikey rotate " + made.ID}, {60*day - time.Second, true, "ends on"}, {60 * day, false, "has ended on"}, {90*day - time.Second, false, "has ended on"}, {90 * day, false, ""}} {
		c.set(s.after)
		if err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := strings.Join(k.Findings(), "\n")
		if opens(k, c, key) != s.opens || (s.finding == "") != (found == "") || !strings.Contains(found, s.finding) {
			t.Errorf("after %s: opens %v, %q", s.after, opens(k, c, key), found)
		}
	}
	if k.ByID(made.ID) != nil {
		t.Error("a month after its end it is forgotten")
	}
	short, _ := create(t, k, c, time.Hour)
	if found := k.Findings(); len(found) != 0 {
		t.Errorf("a key made for an hour is not about to end: %q", found)
	}
	c.set(90*day + 50*time.Minute)
	if err := k.Load(t.Context()); err != nil || len(k.Findings()) != 1 {
		t.Error(err, k.Findings())
	}
	if _, _, _, err := k.Rotate(t.Context(), short.ID, time.Hour, time.Time{}, "bob", ""); err != nil || len(k.Findings()) != 0 {
		t.Error("its owner has another:", err, k.Findings())
	}
	ended, _ := create(t, k, c, time.Hour)
	c.set(90*day + 2*time.Hour)
	if err := k.Load(t.Context()); err != nil || len(k.Findings()) != 2 {
		t.Error(err, k.Findings())
	}
	if _, err := k.Revoke(t.Context(), ended.ID, "bob", ""); err != nil || len(k.Findings()) != 1 {
		t.Error("an ended key can be put away:", err, k.Findings())
	}
	if _, err := k.Revoke(t.Context(), ended.ID, "bob", ""); !errors.Is(err, kept.ErrNone) {
		t.Error(err)
	}
}

// While the store is away, what is known holds, nothing can be changed, and it is told; a restart knows everything again.
func TestStoreAwayAndRestart(t *testing.T) {
	both(t, func(t *testing.T, c *clock, open func(t *testing.T) store.Durable) {
		gone := new(atomic.Bool)
		k := node(t, open(t), gone, c.now)
		made, key := create(t, k, c, 90*day)
		gone.Store(true)
		if _, key, err := k.Create(t.Context(), wanted(c, day)); !errors.Is(err, store.ErrUnavailable) || key != "" {
			t.Error(key, err)
		}
		if _, err := k.Revoke(t.Context(), made.ID, "bob", ""); !errors.Is(err, store.ErrUnavailable) || !opens(k, c, key) {
			t.Error(err)
		}
		if _, _, next, err := k.Rotate(t.Context(), made.ID, 0, time.Time{}, "bob", ""); !errors.Is(err, store.ErrUnavailable) || next != "" || !opens(k, c, key) {
			t.Error(next, err)
		}
		c.set(11 * time.Second)
		if err := k.Load(t.Context()); !errors.Is(err, store.ErrUnavailable) || k.Heard() || !opens(k, c, key) || !strings.Contains(strings.Join(k.Findings(), ""), "the store was not heard of") {
			t.Error(err, k.Findings())
		}
		gone.Store(false)
		if err := k.Load(t.Context()); err != nil || !k.Heard() || len(k.Findings()) != 0 {
			t.Error(err, k.Findings())
		}
		if after := node(t, open(t), gone, c.now); !opens(after, c, key) {
			t.Error("a restart forgets")
		}
	})
}

// What another version has written opens nothing, and is told.
func TestOtherVersions(t *testing.T) {
	c := newClock()
	db := file(t, filepath.Join(t.TempDir(), "store.db"), c.now)
	good := map[string]any{"id": "abcdefgh", "owner": "x", "apis": []string{"shop"}, "scopes": []string{"a"}, "created": c.now(), "expires": c.now().Add(day), "digest": make([]byte, 32)}
	n := 0
	put := func(change map[string]any) {
		m := map[string]any{}
		for k, v := range good {
			m[k] = v
		}
		for k, v := range change {
			m[k] = v
		}
		value, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if _, err := db.Write(t.Context(), store.Write{Key: fmt.Sprint("apikey/", n), Value: value, Expires: c.now().Add(40 * day)}); err != nil {
			t.Fatal(err)
		}
	}
	put(map[string]any{"digest": make([]byte, 31)})
	put(map[string]any{"id": "../etc/x"})
	put(map[string]any{"owner": nil})
	put(map[string]any{"apis": nil})
	put(map[string]any{"expires": nil})
	put(map[string]any{"expires": "tomorrow"})
	k := node(t, db, new(atomic.Bool), c.now)
	if k.ByID("abcdefgh") != nil || !strings.Contains(strings.Join(k.Findings(), "\n"), fmt.Sprint(n, " API keys can't be read by this version")) {
		t.Error(k.Findings())
	}
}

// Everything wrong with what a key is asked to be is told at once.
func TestWrongUses(t *testing.T) {
	c := newClock()
	k := node(t, file(t, filepath.Join(t.TempDir(), "store.db"), c.now), new(atomic.Bool), c.now)
	_, key, err := k.Create(t.Context(), apikey.Key{})
	for _, flag := range []string{"--owner: whose key", "--scope: a key needs", "--api: which APIs", "--expires: a key needs"} {
		if err == nil || !strings.Contains(err.Error(), flag) || key != "" {
			t.Errorf("%q is not told in: %v", flag, err)
		}
	}
	for name, s := range map[string]struct {
		change func(*apikey.Key)
		want   string
	}{
		"an owner of two lines": {func(k *apikey.Key) { k.Owner = "a\nb" }, "--owner"},
		"a long owner":          {func(k *apikey.Key) { k.Owner = strings.Repeat("a", 201) }, "--owner"},
		"a space before":        {func(k *apikey.Key) { k.Owner = " ann" }, "--owner"},
		"a scope with a space":  {func(k *apikey.Key) { k.Scopes = []string{"a b"} }, "--scope"},
		"a scope with a quote":  {func(k *apikey.Key) { k.Scopes = []string{`a"`} }, "--scope"},
		"an empty scope":        {func(k *apikey.Key) { k.Scopes = []string{""} }, "--scope"},
		"a scope twice":         {func(k *apikey.Key) { k.Scopes = []string{"a", "b", "a"} }, "--scope: one stands twice"},
		"too many scopes":       {func(k *apikey.Key) { k.Scopes = strings.Split(strings.Repeat("a", 51), "") }, "51 are given"},
		"an empty role":         {func(k *apikey.Key) { k.Roles = []string{""} }, "--role"},
		"over":                  {func(k *apikey.Key) { k.Expires = c.now() }, "is over already"},
		"for ever":              {func(k *apikey.Key) { k.Expires = c.now().Add(367 * day) }, "at most a year"},
		"a reason of two lines": {func(k *apikey.Key) { k.Why = "a\nb" }, "--why"},
	} {
		q := wanted(c, day)
		s.change(&q)
		if _, key, err := k.Create(t.Context(), q); err == nil || !strings.Contains(err.Error(), s.want) || key != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := k.List(t.Context()); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

// Every key of an owner, or from before a time, can be revoked at once.
func TestRevokeAll(t *testing.T) {
	c, gone := newClock(), new(atomic.Bool)
	k := node(t, file(t, filepath.Join(t.TempDir(), "store.db"), c.now), gone, c.now)
	var keys []string
	for i := range 4 {
		c.set(time.Duration(i) * time.Minute)
		_, key := create(t, k, c, day)
		keys = append(keys, key)
	}
	early := c.began.Add(90 * time.Second)
	n, err := k.RevokeAll(t.Context(), func(k apikey.Key) bool { return k.Created.Before(early) }, "ann", "a restore")
	if err != nil || n != 2 || opens(k, c, keys[0]) || opens(k, c, keys[1]) || !opens(k, c, keys[2]) || !opens(k, c, keys[3]) {
		t.Error(n, err)
	}
	gone.Store(true)
	for _, all := range []bool{true, false} { // one that was made elsewhere is not known here
		if n, err := k.RevokeAll(t.Context(), func(apikey.Key) bool { return all }, "ann", ""); n != 0 || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("while the store is away, %v: %d, %v", all, n, err)
		}
	}
	gone.Store(false)
	list, err := k.List(t.Context())
	if err != nil || slices.IndexFunc(list, func(l kept.Listed) bool { return l.Revoked != nil && l.Revoked.Why == "a restore" }) < 0 {
		t.Error(list, err)
	}
}
