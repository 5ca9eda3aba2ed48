package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Durable holds a durable store to its promises, those of Records among them.
func Durable(t *testing.T, open func(t *testing.T) (store.Durable, Env)) {
	Records(t, func(t *testing.T) (store.Records, Env) { return open(t) })
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Durable, Env)
	}{
		{"all or none", allOrNone},
		{"together against each other", transfers},
		{"list in order", list},
		{"list takes prefixes literally", listLiteral},
		{"list without the expired", listExpired},
		{"since", since},
		{"since never misses", sinceConcurrent},
		{"ping", ping},
		{"an ended context, durably", endedDurable},
		{"opened again", reopened},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, env := open(t)
			c.run(t, s, env)
		})
	}
}

func keys(records []store.Record) []string {
	list := make([]string, len(records))
	for i, r := range records {
		list[i] = r.Key
	}
	return list
}

func listed(t *testing.T, s store.Durable, prefix, after string, limit int) []string {
	t.Helper()
	records, err := s.List(background(t), prefix, after, limit)
	if err != nil {
		t.Fatalf("list %q after %q: %v", prefix, after, err)
	}
	return keys(records)
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func allOrNone(t *testing.T, s store.Durable, _ Env) {
	ctx := background(t)
	if err := s.WriteAll(ctx); err != nil {
		t.Errorf("nothing at all: %v", err)
	}
	if err := s.WriteAll(ctx, store.Write{Key: "a", Value: []byte("1")}, store.Write{Key: "b", Value: []byte("1")},
		store.Write{Key: "c", Value: []byte("1"), Version: store.Any}); err != nil {
		t.Fatal(err)
	}
	for name, all := range map[string][]store.Write{
		"first":   {{Key: "a", Value: []byte("x")}, {Key: "b", Value: []byte("x"), Version: 1}, {Key: "new", Value: []byte("x")}},
		"middle":  {{Key: "new", Value: []byte("x")}, {Key: "b", Value: []byte("x"), Version: 7}, {Key: "c", Version: store.Any}},
		"last":    {{Key: "new", Value: []byte("x")}, {Key: "c", Value: []byte("x"), Version: 1}, {Key: "absent", Version: 1}},
		"removal": {{Key: "c", Version: 1}, {Key: "new", Value: []byte("x")}, {Key: "b", Version: 2}},
	} {
		if err := s.WriteAll(ctx, all...); !errors.Is(err, store.ErrConflict) {
			t.Errorf("conflict %s: %v", name, err)
		}
	}
	for _, all := range [][]store.Write{
		{{Key: "new", Value: []byte("x")}, {Key: "new", Value: []byte("y")}},
		{{Key: "new", Value: []byte("x")}, {Key: "bad//key", Value: []byte("y")}},
		{{Key: "new", Value: []byte("x")}, {Key: "big", Value: make([]byte, store.MaxSealed+1)}},
	} {
		if err := s.WriteAll(ctx, all...); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q and %q: %v, want ErrInvalid", all[0].Key, all[1].Key, err)
		}
	}
	same(t, "after refusals", listed(t, s, "", "", 10), []string{"a", "b", "c"})
	for _, key := range []string{"a", "b", "c"} {
		if r := get(t, s, key); string(r.Value) != "1" || r.Version != 1 {
			t.Errorf("a refused change left %+v", r)
		}
	}
	if err := s.WriteAll(ctx, store.Write{Key: "a", Version: 1}, store.Write{Key: "b", Value: []byte("2"), Version: 1},
		store.Write{Key: "d", Value: []byte{}}); err != nil {
		t.Fatal(err)
	}
	same(t, "after changes", listed(t, s, "", "", 10), []string{"b", "c", "d"})
	many := make([]store.Write, 200)
	for i := range many {
		many[i] = store.Write{Key: fmt.Sprintf("many/%03d", i), Value: []byte("x")}
	}
	if err := s.WriteAll(ctx, many...); err != nil {
		t.Errorf("200 together: %v", err)
	}
}

// Many move one unit between two records at once: the sum stays, and nobody ever sees another.
func transfers(t *testing.T, s store.Durable, _ Env) {
	ctx := background(t)
	if err := s.WriteAll(ctx, store.Write{Key: "sum/a", Value: []byte{100}}, store.Write{Key: "sum/b", Value: []byte{100}}); err != nil {
		t.Fatal(err)
	}
	var moved atomic.Int64
	together(8, func(i int) {
		for done := 0; done < 5; {
			both, err := s.List(ctx, "sum/", "", 2)
			if err != nil || len(both) != 2 {
				t.Errorf("%d records, error %v", len(both), err)
				return
			}
			if sum := int(both[0].Value[0]) + int(both[1].Value[0]); sum != 200 {
				t.Errorf("the sum was seen as %d", sum)
				return
			}
			from, to := both[i%2], both[1-i%2]
			err = s.WriteAll(ctx, store.Write{Key: from.Key, Value: []byte{from.Value[0] - 1}, Version: from.Version},
				store.Write{Key: to.Key, Value: []byte{to.Value[0] + 1}, Version: to.Version})
			switch {
			case err == nil:
				done++
				moved.Add(1)
			case !errors.Is(err, store.ErrConflict):
				t.Error(err)
				return
			}
		}
	})
	if a, b := get(t, s, "sum/a"), get(t, s, "sum/b"); a.Value[0] != 100 || b.Value[0] != 100 || a.Version != moved.Load()+1 || b.Version != a.Version {
		t.Errorf("after %d moves: %d at %d, %d at %d", moved.Load(), a.Value[0], a.Version, b.Value[0], b.Version)
	}
}

func list(t *testing.T, s store.Durable, _ Env) {
	all := []string{"A/1", "Z", "a", "a-b", "a/", "a/1", "a/10", "a/2", "a/B", "a/b", "a/b/c", "a/~", "a0", "b", "~"}
	all = slices.DeleteFunc(all, func(k string) bool { return store.CheckKey(k) != nil })
	sort.Strings(all)
	for _, i := range []int{5, 2, 9, 0, 7} {
		all[0], all[i] = all[i], all[0]
	}
	for _, k := range all {
		write(t, s, store.Write{Key: k, Value: []byte("v of " + k)})
	}
	sort.Strings(all)
	same(t, "all", listed(t, s, "", "", 100), all)
	same(t, "a/", listed(t, s, "a/", "", 100), []string{"a/1", "a/10", "a/2", "a/B", "a/b", "a/b/c", "a/~"})
	same(t, "a/1", listed(t, s, "a/1", "", 100), []string{"a/1", "a/10"})
	same(t, "a/b", listed(t, s, "a/b", "", 100), []string{"a/b", "a/b/c"})
	same(t, "~", listed(t, s, "~", "", 100), []string{"~"})
	same(t, "nothing", listed(t, s, "c/", "", 100), []string{})
	same(t, "after what is no key", listed(t, s, "a/", "a/15", 2), []string{"a/2", "a/B"})
	same(t, "after all of the prefix", listed(t, s, "a/", "b", 100), []string{})
	same(t, "after what stands before the prefix", listed(t, s, "a/", "A", 1), []string{"a/1"})
	for _, size := range []int{1, 2, 3, 7} {
		var paged []string
		for after := ""; ; {
			page := listed(t, s, "", after, size)
			if len(page) == 0 {
				break
			}
			if len(page) > size {
				t.Fatalf("a page of %d has %d", size, len(page))
			}
			paged = append(paged, page...)
			after = page[len(page)-1]
		}
		same(t, fmt.Sprintf("pages of %d", size), paged, all)
	}
	records, err := s.List(background(t), "b", "", 1)
	if err != nil || len(records) != 1 || string(records[0].Value) != "v of b" || records[0].Version != 1 {
		t.Errorf("list gave %+v, %v", records, err)
	}
	for _, limit := range []int{0, -1} {
		if _, err := s.List(background(t), "", "", limit); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
	if _, err := s.List(background(t), "a b", "", 1); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("bad prefix: %v", err)
	}
}

func listLiteral(t *testing.T, s store.Durable, _ Env) {
	marks := []string{"%", "_", "*", "?", "[ab]", "'", `"`, `\`, "a", "b", "$1", "(", "^"}
	for _, m := range marks {
		write(t, s, store.Write{Key: "p" + m + "x/1", Value: []byte("x")})
	}
	for _, m := range marks {
		want := []string{"p" + m + "x/1"}
		same(t, "prefix p"+m+"x", listed(t, s, "p"+m+"x", "", 100), want)
		changed, _, err := s.Since(background(t), "p"+m+"x", "")
		if err != nil {
			t.Fatal(err)
		}
		same(t, "since with prefix p"+m+"x", keys(changed), want)
	}
}

func listExpired(t *testing.T, s store.Durable, env Env) {
	step := env.step()
	write(t, s, store.Write{Key: "e/1", Value: []byte("x"), Expires: env.Now().Add(step)})
	write(t, s, store.Write{Key: "e/2", Value: []byte("x"), Expires: env.Now().Add(5 * step)})
	write(t, s, store.Write{Key: "e/3", Value: []byte("x"), Expires: env.Now().Add(step)})
	write(t, s, store.Write{Key: "e/4", Value: []byte("x")})
	env.Forward(2 * step)
	same(t, "without the expired", listed(t, s, "e/", "", 10), []string{"e/2", "e/4"})
	same(t, "a page isn't shortened by them", listed(t, s, "e/", "", 2), []string{"e/2", "e/4"})
	changed, _, err := s.Since(background(t), "e/", "")
	if err != nil {
		t.Fatal(err)
	}
	got := keys(changed)
	sort.Strings(got)
	same(t, "since without the expired", got, []string{"e/2", "e/4"})
	if err := s.WriteAll(background(t), store.Write{Key: "e/1", Value: []byte("new")}, store.Write{Key: "e/4", Version: 1}); err != nil {
		t.Fatal(err)
	}
	same(t, "made again", listed(t, s, "e/", "", 10), []string{"e/1", "e/2"})
}

func ping(t *testing.T, s store.Durable, _ Env) {
	if err := s.Ping(background(t)); err != nil {
		t.Error(err)
	}
	same(t, "a ping leaves nothing", listed(t, s, "", "", 10), []string{})
}

func endedDurable(t *testing.T, s store.Durable, _ Env) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.WriteAll(ctx, store.Write{Key: "k", Value: []byte("x")}, store.Write{Key: "l", Value: []byte("x")}); err == nil {
		t.Error("changes with an ended context were made")
	}
	if _, err := s.List(ctx, "", "", 1); err == nil {
		t.Error("a list with an ended context")
	}
	if _, _, err := s.Since(ctx, "", ""); err == nil {
		t.Error("since with an ended context")
	}
	if err := s.Ping(ctx); err == nil {
		t.Error("a ping with an ended context")
	}
	gone(t, s, "k")
}

func reopened(t *testing.T, s store.Durable, env Env) {
	if env.Reopen == nil {
		t.Fatal("a durable store's Env says how it is opened again")
	}
	at := env.Now().Add(5 * env.step())
	write(t, s, store.Write{Key: "kept", Value: []byte("x"), Expires: at})
	write(t, s, store.Write{Key: "kept", Value: []byte("y"), Version: 1, Expires: at})
	_, mark := tail(t, s, "", "")
	mark = latest(t, s, "", mark)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(background(t), "kept"); err == nil {
		t.Error("a closed store answers")
	}
	if _, err := s.Write(background(t), store.Write{Key: "late", Value: []byte("x")}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("write to a closed store: %v, want ErrUnavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	again := env.Reopen(t)
	if r := get(t, again, "kept"); string(r.Value) != "y" || r.Version != 2 || r.Expires.UnixMilli() != at.UnixMilli() {
		t.Errorf("came back as %+v", r)
	}
	gone(t, again, "late")
	write(t, again, store.Write{Key: "next", Value: []byte("x")})
	got, _ := tail(t, again, "", mark)
	if !slices.Contains(got, "next") {
		t.Errorf("with the mark from before: %q", got)
	}
}
