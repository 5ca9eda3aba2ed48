package kept_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/patch"
	"github.com/gatehouse-sec/gatehouse/guard/patch/kept"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

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

func (d durable) Write(ctx context.Context, w kept.Write) (int64, error) {
	if d.gone.Load() {
		return 0, store.ErrUnavailable
	}
	return d.Durable.Write(ctx, store.Write(w))
}

func (d durable) Since(ctx context.Context, prefix, mark string) ([]kept.Record, string, error) {
	if d.gone.Load() {
		return nil, "", store.ErrUnavailable
	}
	list, next, err := d.Durable.Since(ctx, prefix, mark)
	records := make([]kept.Record, len(list))
	for i, r := range list {
		records[i] = kept.Record(r)
	}
	return records, next, err
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// clock is a time that tests set.
type clock struct{ after atomic.Int64 }

func (c *clock) now() time.Time          { return noon.Add(time.Duration(c.after.Load())) }
func (c *clock) set(after time.Duration) { c.after.Store(int64(after)) }

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

func node(t *testing.T, in store.Durable, gone *atomic.Bool, now func() time.Time) *kept.Patches {
	t.Helper()
	p, err := kept.New(durable{in, gone}, kept.Errors{None: store.ErrNone, Conflict: store.ErrConflict, Invalid: store.ErrInvalid}, kept.Options{Digest: []byte("k"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func entry(id string, until time.Duration) kept.Entry {
	return kept.Entry{API: "shop", Patch: patch.Patch{ID: id, At: "query.q", When: `value == "x"`, Until: noon.Add(until), Author: "ann", Reason: "a hole"}, Trial: kept.Trial{Exploits: 1, Good: 1}}
}

// asked is a guard over one node, and a request with q=x.
func asked(t *testing.T, p *kept.Patches, now func() time.Time) func() gate.Verdict {
	t.Helper()
	op := &gate.Operation{Key: "search", Method: "GET", Template: "/search"}
	g, err := patch.New(patch.Config{}, &gate.API{Name: "shop", Operations: []*gate.Operation{op}}, p, now)
	if err != nil {
		t.Fatal(err)
	}
	return func() gate.Verdict {
		return g.Check(context.Background(), &gate.Exchange{Began: now(), Operation: op, Request: &canon.Request{Method: "GET", Query: []canon.Pair{{Name: "q", Value: "x"}}}})
	}
}

// L5: a patch that is added on one node holds on every node, and so does its removal; the log says how soon.
func TestEveryNode(t *testing.T) {
	path, gone := filepath.Join(t.TempDir(), "store.db"), new(atomic.Bool)
	now := func() time.Time { return noon }
	var nodes []*kept.Patches
	var ask []func() gate.Verdict
	for range 2 {
		p := node(t, file(t, path, now), gone, now)
		ctx, end := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		t.Cleanup(func() { end(); <-done })
		nodes, ask = append(nodes, p), append(ask, asked(t, p, now))
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
	if v := ask[1](); !v.Allowed() {
		t.Fatalf("%+v", v)
	}
	if _, err := nodes[0].Add(t.Context(), entry("p-1", 30*day)); err != nil {
		t.Fatal(err)
	}
	if v := ask[0](); v.Reason != patch.Denied {
		t.Fatalf("on the node that was asked, it holds at once: %+v", v)
	}
	until("added on one, in force on the other", func() bool { return ask[1]().Reason == patch.Denied })
	if _, err := nodes[1].Remove(t.Context(), "shop", "p-1", "bob", "mended"); err != nil {
		t.Fatal(err)
	}
	if v := ask[1](); !v.Allowed() {
		t.Fatalf("%+v", v)
	}
	until("removed on one, gone on the other", func() bool { return ask[0]().Allowed() })
	if all := nodes[0].All(); len(all) != 1 || all[0].Removed == nil || all[0].Removed.By != "bob" || all[0].Removed.Why != "mended" {
		t.Errorf("%+v", all)
	}
}

// A patch ends on its day by itself, is told of before and after, is listed a month longer, and can then be added again.
func TestLifeOfAPatch(t *testing.T) {
	c, gone := &clock{}, new(atomic.Bool)
	p := node(t, file(t, filepath.Join(t.TempDir(), "store.db"), c.now), gone, c.now)
	ask := asked(t, p, c.now)
	if _, err := p.Add(t.Context(), entry("p-1", 30*day)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), entry("p-1", 40*day)); !errors.Is(err, kept.ErrTwice) {
		t.Error(err)
	}
	for _, s := range []struct {
		after   time.Duration
		denies  bool
		finding string
	}{{0, true, ""}, {22 * day, true, ""}, {23 * day, true, "patch p-1 of shop ends on 2026-07-01 (a hole)"}, {30*day - 1, true, "ends on"},
		{30 * day, false, "patch p-1 of shop has ended on 2026-07-01 and denies nothing any more (a hole)"}, {59 * day, false, "has ended"}, {61 * day, false, ""}} {
		c.set(s.after)
		if err := p.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := strings.Join(p.Findings(), "\n")
		if v := ask(); v.Allowed() == s.denies || (s.finding == "") != (found == "") || !strings.Contains(found, s.finding) || len(p.InForce()) == 1 != s.denies {
			t.Errorf("after %s: %+v, %q", s.after, v, found)
		}
		if s.after == 59*day {
			if _, err := p.Remove(t.Context(), "shop", "p-1", "bob", "seen"); err != nil || len(p.Findings()) != 0 {
				t.Error("an ended patch can be put away:", err, p.Findings())
			}
			if _, err := p.Remove(t.Context(), "shop", "p-1", "bob", "seen"); !errors.Is(err, kept.ErrNone) {
				t.Error(err)
			}
		}
	}
	again := entry("p-1", 90*day)
	if _, err := p.Add(t.Context(), again); err != nil || ask().Allowed() {
		t.Error("the finding is back, and so is its patch:", err)
	}
	if _, err := p.Remove(t.Context(), "shop", "p-2", "bob", ""); !errors.Is(err, kept.ErrNone) {
		t.Error(err)
	}
}

// While the store is away, what is known holds, nothing can be added, and it is told; a restart knows everything again.
func TestStoreAwayAndRestart(t *testing.T) {
	c, gone := &clock{}, new(atomic.Bool)
	db := file(t, filepath.Join(t.TempDir(), "store.db"), c.now)
	p := node(t, db, gone, c.now)
	ask := asked(t, p, c.now)
	if _, err := p.Add(t.Context(), entry("p-1", 30*day)); err != nil {
		t.Fatal(err)
	}
	gone.Store(true)
	if _, err := p.Add(t.Context(), entry("p-2", 30*day)); !errors.Is(err, store.ErrUnavailable) || len(p.All()) != 1 {
		t.Error(err, p.All())
	}
	if _, err := p.Remove(t.Context(), "shop", "p-1", "bob", ""); !errors.Is(err, store.ErrUnavailable) || ask().Allowed() {
		t.Error(err)
	}
	c.set(time.Minute)
	if err := p.Load(t.Context()); !errors.Is(err, store.ErrUnavailable) || ask().Allowed() || !strings.Contains(strings.Join(p.Findings(), ""), "the store was not heard of") {
		t.Error(err, p.Findings())
	}
	gone.Store(false)
	if err := p.Load(t.Context()); err != nil || len(p.Findings()) != 0 {
		t.Error(err, p.Findings())
	}
	if after := node(t, db, gone, c.now); asked(t, after, c.now)().Reason != patch.Denied {
		t.Error("a restart forgets")
	}
}

// What another version has written is never nothing: a condition that can't be loaded denies, a record that can't be read is
// told.
func TestOtherVersions(t *testing.T) {
	c, gone := &clock{}, new(atomic.Bool)
	db := file(t, filepath.Join(t.TempDir(), "store.db"), c.now)
	e := entry("new", 30*day)
	e.When = "value.isHostile()"
	value, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	more := bytes.Replace(bytes.Replace(value, []byte(`"new"`), []byte(`"more"`), 1), []byte("value.isHostile()"), []byte("false"), 1)
	more = append([]byte(`{"unless": "caller.known",`), more[1:]...) // were this not seen, it would be another patch
	for key, v := range map[string][]byte{"patch/a": value, "patch/d": more, "patch/b": []byte(`{"form": 2}`), "patch/c": []byte(`[]`)} {
		if _, err := db.Write(t.Context(), store.Write{Key: key, Value: v, Expires: noon.Add(40 * day)}); err != nil {
			t.Fatal(err)
		}
	}
	p := node(t, db, gone, c.now)
	if v := asked(t, p, c.now)(); v.Reason != patch.Failed {
		t.Errorf("%+v", v)
	}
	found := strings.Join(p.Findings(), "\n")
	for _, want := range []string{"2 patches can't be read by this version", "patch new of shop denies every request that it could be about", "isHostile", "patch more of shop denies", `unknown field "unless"`} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is not told in %q", want, found)
		}
	}
}

// What another version has written under a name is not written over: it may be in force there.
func TestUnreadableIsNotReplaced(t *testing.T) {
	c, gone := &clock{}, new(atomic.Bool)
	db := file(t, filepath.Join(t.TempDir(), "store.db"), c.now)
	p := node(t, db, gone, c.now)
	if _, err := p.Add(t.Context(), entry("p-1", 30*day)); err != nil {
		t.Fatal(err)
	}
	list, err := db.List(t.Context(), "patch/", "", 10)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if _, err := db.Write(t.Context(), store.Write{Key: list[0].Key, Value: []byte(`{"form": 2}`), Version: list[0].Version, Expires: list[0].Expires}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), entry("p-1", 30*day)); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Error("it is written over:", err)
	}
}

// Keys lie in the store as they are: nobody reads from them what is patched. And there is an end to how many there may be.
func TestKeysAndBounds(t *testing.T) {
	c, gone := &clock{}, new(atomic.Bool)
	db := file(t, filepath.Join(t.TempDir(), "store.db"), c.now)
	p := node(t, db, gone, c.now)
	if _, err := p.Add(t.Context(), entry("orders-sqli", 30*day)); err != nil {
		t.Fatal(err)
	}
	list, err := db.List(t.Context(), "patch/", "", 10)
	if err != nil || len(list) != 1 || strings.Contains(list[0].Key, "sqli") || strings.Contains(list[0].Key, "shop") || !list[0].Expires.Equal(noon.Add(60*day)) {
		t.Errorf("%+v %v", list, err)
	}
	for i := range 500 {
		_, err = p.Add(t.Context(), entry(fmt.Sprint("p-", i), 30*day))
		if err != nil {
			break
		}
	}
	if !errors.Is(err, kept.ErrFull) || len(p.InForce()) != 500 {
		t.Error(err, len(p.InForce()))
	}
}
