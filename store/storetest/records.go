package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Records holds a store of records to its promises. Each call of open gives an empty store of its own.
func Records(t *testing.T, open func(t *testing.T) (store.Records, Env)) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Records, Env)
	}{
		{"a record's life", life},
		{"versions are named", versions},
		{"Any", anyVersion},
		{"values as they were", values},
		{"keys and bounds", bounds},
		{"copies are the caller's", copies},
		{"expiry", expiry},
		{"expired and made again", expiredAgain},
		{"the clock jumps back", clockBack},
		{"one of fifty wins", race},
		{"fifty make one record", raceCreate},
		{"an ended context", ended},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, env := open(t)
			c.run(t, s, env)
		})
	}
}

func life(t *testing.T, s store.Records, _ Env) {
	gone(t, s, "a/b")
	if v := write(t, s, store.Write{Key: "a/b", Value: []byte("one")}); v != 1 {
		t.Fatalf("a new record has version %d, want 1", v)
	}
	if r := get(t, s, "a/b"); string(r.Value) != "one" || r.Version != 1 || !r.Expires.IsZero() {
		t.Fatalf("got %+v", r)
	}
	if v := write(t, s, store.Write{Key: "a/b", Value: []byte("two"), Version: 1}); v != 2 {
		t.Fatalf("a changed record has version %d, want 2", v)
	}
	if r := get(t, s, "a/b"); string(r.Value) != "two" || r.Version != 2 {
		t.Fatalf("got %+v", r)
	}
	gone(t, s, "a")
	gone(t, s, "a/b/c")
	gone(t, s, "A/B")
	if v := write(t, s, store.Write{Key: "a/b", Version: 2}); v != 0 {
		t.Fatalf("a removed record has version %d, want 0", v)
	}
	gone(t, s, "a/b")
	if v := write(t, s, store.Write{Key: "a/b", Value: []byte("three")}); v != 1 {
		t.Fatalf("a record that was removed begins at version %d, want 1", v)
	}
}

func versions(t *testing.T, s store.Records, _ Env) {
	write(t, s, store.Write{Key: "k", Value: []byte("one")})
	write(t, s, store.Write{Key: "k", Value: []byte("two"), Version: 1})
	for _, version := range []int64{0, 1, 3, 1 << 40} {
		refused(t, s, store.Write{Key: "k", Value: []byte("lost"), Version: version}, store.ErrConflict)
		refused(t, s, store.Write{Key: "k", Version: version}, store.ErrConflict)
	}
	refused(t, s, store.Write{Key: "absent", Value: []byte("lost"), Version: 1}, store.ErrConflict)
	refused(t, s, store.Write{Key: "absent", Version: 1}, store.ErrConflict)
	refused(t, s, store.Write{Key: "k", Value: []byte("lost"), Version: -2}, store.ErrInvalid)
	if r := get(t, s, "k"); string(r.Value) != "two" || r.Version != 2 {
		t.Fatalf("a refused write changed the record: %+v", r)
	}
	gone(t, s, "absent")
}

func anyVersion(t *testing.T, s store.Records, _ Env) {
	if v := write(t, s, store.Write{Key: "k", Version: store.Any}); v != 0 {
		t.Fatalf("removing nothing gave version %d", v)
	}
	for want := int64(1); want <= 3; want++ {
		if v := write(t, s, store.Write{Key: "k", Value: []byte{byte(want)}, Version: store.Any}); v != want {
			t.Fatalf("version %d, want %d", v, want)
		}
	}
	if v := write(t, s, store.Write{Key: "k", Version: store.Any}); v != 0 {
		t.Fatalf("removed with version %d", v)
	}
	gone(t, s, "k")
}

func values(t *testing.T, s store.Records, env Env) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for name, value := range map[string][]byte{
		"empty": {}, "zero": {0}, "binary": all, "text": []byte("'; drop table record; --\r\n"), "not-utf8": {0xff, 0xfe, 0xc0},
		"mib": bytes.Repeat([]byte("0123456789abcdef"), store.MaxValue/16),
	} {
		write(t, s, store.Write{Key: "v/" + name, Value: value})
		if r := get(t, s, "v/"+name); !bytes.Equal(r.Value, value) || r.Value == nil {
			t.Errorf("%s: %d bytes came back as %d (nil: %v)", name, len(value), len(r.Value), r.Value == nil)
		}
	}
	at := env.Now().Add(10 * env.step())
	write(t, s, store.Write{Key: "v/time", Value: []byte("x"), Expires: at})
	if r := get(t, s, "v/time"); r.Expires.UnixMilli() != at.UnixMilli() {
		t.Errorf("expires %v came back as %v", at, r.Expires)
	}
	write(t, s, store.Write{Key: "v/time", Value: []byte("x"), Version: 1})
	if r := get(t, s, "v/time"); !r.Expires.IsZero() {
		t.Errorf("a write without Expires left %v", r.Expires)
	}
}

func bounds(t *testing.T, s store.Records, _ Env) {
	longest := strings.Repeat("k", store.MaxKey)
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", "a b", "a\x00b", "a\nb", "\x7f", "ä", "a/\xff", longest + "k", longest + longest, "a\tb",
	} {
		for _, w := range []store.Write{{Key: key, Value: []byte("x")}, {Key: key, Version: store.Any}} {
			refused(t, s, w, store.ErrInvalid)
		}
		if _, err := s.Get(background(t), key); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("get %q: %v, want ErrInvalid", short(key), err)
		}
	}
	gone(t, s, longest)
	for _, key := range []string{longest, "a", "A", "!", "~", "%", "_", "*", "?", "[a]", "'", `"`, "`", "$1", `\`, "a/b.c/../d", "{tag}", ":"} {
		write(t, s, store.Write{Key: key, Value: []byte(key)})
	}
	for _, key := range []string{longest, "a", "A", "%", "_", `\`, "{tag}"} {
		if r := get(t, s, key); string(r.Value) != key {
			t.Errorf("%q holds %q", short(key), short(string(r.Value)))
		}
	}
	refused(t, s, store.Write{Key: "big", Value: make([]byte, store.MaxSealed+1)}, store.ErrInvalid)
	gone(t, s, "big")
}

func copies(t *testing.T, s store.Records, _ Env) {
	value := []byte("mine")
	write(t, s, store.Write{Key: "k", Value: value})
	copy(value, "XXXX")
	first := get(t, s, "k")
	if string(first.Value) != "mine" {
		t.Fatalf("the store kept the caller's slice: %q", first.Value)
	}
	copy(first.Value, "YYYY")
	if again := get(t, s, "k"); string(again.Value) != "mine" {
		t.Fatalf("the store handed out its own slice: %q", again.Value)
	}
}

func expiry(t *testing.T, s store.Records, env Env) {
	step := env.step()
	write(t, s, store.Write{Key: "stays", Value: []byte("x")})
	write(t, s, store.Write{Key: "short", Value: []byte("x"), Expires: env.Now().Add(step)})
	write(t, s, store.Write{Key: "long", Value: []byte("x"), Expires: env.Now().Add(3 * step)})
	get(t, s, "short")
	env.Forward(step + time.Millisecond)
	gone(t, s, "short")
	get(t, s, "long")
	write(t, s, store.Write{Key: "long", Value: []byte("y"), Version: 1, Expires: env.Now().Add(4 * step)})
	env.Forward(3 * step)
	if r := get(t, s, "long"); r.Version != 2 {
		t.Fatalf("a renewed record has version %d", r.Version)
	}
	env.Forward(2 * step)
	gone(t, s, "long")
	get(t, s, "stays")
}

func expiredAgain(t *testing.T, s store.Records, env Env) {
	step := env.step()
	for _, key := range []string{"made", "any", "named", "removed"} {
		write(t, s, store.Write{Key: key, Value: []byte("old"), Expires: env.Now().Add(step)})
		write(t, s, store.Write{Key: key, Value: []byte("old"), Version: 1, Expires: env.Now().Add(step)})
	}
	env.Forward(step + time.Millisecond)
	if v := write(t, s, store.Write{Key: "made", Value: []byte("new")}); v != 1 {
		t.Errorf("made over an expired record: version %d, want 1", v)
	}
	if v := write(t, s, store.Write{Key: "any", Value: []byte("new"), Version: store.Any}); v != 1 {
		t.Errorf("written over an expired record: version %d, want 1", v)
	}
	refused(t, s, store.Write{Key: "named", Value: []byte("new"), Version: 2}, store.ErrConflict)
	refused(t, s, store.Write{Key: "removed", Version: 2}, store.ErrConflict)
	if v := write(t, s, store.Write{Key: "removed", Version: store.Any}); v != 0 {
		t.Errorf("removed an expired record: version %d, want 0", v)
	}
	if r := get(t, s, "made"); string(r.Value) != "new" || !r.Expires.IsZero() {
		t.Errorf("made again: %q until %v", r.Value, r.Expires)
	}
	write(t, s, store.Write{Key: "stillborn", Value: []byte("x"), Expires: env.Now().Add(-step)})
	gone(t, s, "stillborn")
	if v := write(t, s, store.Write{Key: "stillborn", Value: []byte("x")}); v != 1 {
		t.Errorf("made over a record that had expired when it was written: version %d", v)
	}
}

// A clock set back must not lose what never expired nor stop writes; whether an expired record comes back is the store's
// own affair, as long as reading and writing agree about it.
func clockBack(t *testing.T, s store.Records, env Env) {
	if env.Back == nil {
		return
	}
	step := env.step()
	write(t, s, store.Write{Key: "stays", Value: []byte("x")})
	write(t, s, store.Write{Key: "short", Value: []byte("x"), Expires: env.Now().Add(step)})
	write(t, s, store.Write{Key: "long", Value: []byte("x"), Expires: env.Now().Add(5 * step)})
	env.Forward(2 * step)
	gone(t, s, "short")
	env.Back(4 * step)
	get(t, s, "stays")
	get(t, s, "long")
	write(t, s, store.Write{Key: "stays", Value: []byte("y"), Version: 1})
	r, err := s.Get(background(t), "short")
	if err != nil && !errors.Is(err, store.ErrNone) {
		t.Fatal(err)
	}
	if v := write(t, s, store.Write{Key: "short", Value: []byte("z"), Version: r.Version}); v != r.Version+1 {
		t.Errorf("version %d became %d", r.Version, v)
	}
}

func race(t *testing.T, s store.Records, _ Env) {
	const writers, rounds = 50, 6
	version := write(t, s, store.Write{Key: "contested", Value: []byte("-")})
	for round := range rounds {
		var won atomic.Int64
		var winner atomic.Value
		together(writers, func(i int) {
			mine := fmt.Sprintf("%d by %d", round, i)
			v, err := s.Write(background(t), store.Write{Key: "contested", Value: []byte(mine), Version: version})
			switch {
			case err == nil && v == version+1:
				won.Add(1)
				winner.Store(mine)
			case !errors.Is(err, store.ErrConflict):
				t.Errorf("version %d, error %v; want ErrConflict", v, err)
			}
		})
		r := get(t, s, "contested")
		if won.Load() != 1 || r.Version != version+1 || string(r.Value) != winner.Load() {
			t.Fatalf("round %d: %d winners; the record is %q at version %d", round, won.Load(), r.Value, r.Version)
		}
		version = r.Version
	}
	// And the other way: everybody tries until it has succeeded, and nothing is lost.
	together(writers, func(int) {
		for {
			r, err := s.Get(background(t), "contested")
			if err != nil {
				t.Error(err)
				return
			}
			if _, err = s.Write(background(t), store.Write{Key: "contested", Value: r.Value, Version: r.Version}); err == nil {
				return
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
				return
			}
		}
	})
	if r := get(t, s, "contested"); r.Version != version+writers {
		t.Fatalf("%d changes took version %d to %d", writers, version, r.Version)
	}
}

func raceCreate(t *testing.T, s store.Records, _ Env) {
	for round := range 5 {
		key := fmt.Sprintf("lock/%d", round)
		var won atomic.Int64
		together(50, func(i int) {
			_, err := s.Write(background(t), store.Write{Key: key, Value: []byte{byte(i)}})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d of 50 made the same record", won.Load())
		}
	}
}

func ended(t *testing.T, s store.Records, _ Env) {
	write(t, s, store.Write{Key: "k", Value: []byte("x")})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Write(ctx, store.Write{Key: "k", Value: []byte("y"), Version: 1}); err == nil {
		t.Error("a write with an ended context was made")
	}
	if _, err := s.Get(ctx, "k"); err == nil || errors.Is(err, store.ErrNone) {
		t.Errorf("a read with an ended context: %v", err)
	}
	if r := get(t, s, "k"); string(r.Value) != "x" {
		t.Errorf("the record became %q", r.Value)
	}
}

// together runs n calls at once and waits for all.
func together(n int, do func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	wg.Wait()
}
