package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/storetest"
)

// key gives a key of 32 equal bytes.
func key(t testing.TB, b byte) secret.Value {
	t.Helper()
	v, err := secret.New(bytes.Repeat([]byte{b}, keySize), "test")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// under gives the first of the keys as the current one.
func under(t testing.TB, keys ...byte) Keys {
	return func() (secret.Value, []secret.Value) {
		var previous []secret.Value
		for _, b := range keys[1:] {
			previous = append(previous, key(t, b))
		}
		return key(t, keys[0]), previous
	}
}

func options(t testing.TB, path string) Options {
	return Options{Path: path, Key: under(t, 1), Now: time.Now, Patience: 5 * time.Second}
}

func open(t testing.TB, o Options) *DB {
	t.Helper()
	d, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func somewhere(t testing.TB) string { return filepath.Join(t.TempDir(), "state", "gatehouse.db") }

func put(t testing.TB, d store.Records, k, v string) {
	t.Helper()
	if _, err := d.Write(context.Background(), store.Write{Key: k, Value: []byte(v), Version: store.Any}); err != nil {
		t.Fatal(err)
	}
}

func has(t testing.TB, d store.Records, k, want string) {
	t.Helper()
	r, err := d.Get(context.Background(), k)
	if want == "" && errors.Is(err, store.ErrNone) {
		return
	}
	if err != nil || string(r.Value) != want {
		t.Fatalf("%s holds %q, error %v; want %q", k, r.Value, err, want)
	}
}

func TestDurable(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (store.Durable, storetest.Env) {
		clock := storetest.NewClock()
		o := options(t, somewhere(t))
		o.Now = clock.Now
		env := clock.Env()
		env.Reopen = func(t *testing.T) store.Durable { return open(t, o) }
		return open(t, o), env
	})
}

// The same promises hold for a store that another process - here another DB - has open too, and writes to.
func TestDurableByTwo(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (store.Durable, storetest.Env) {
		clock := storetest.NewClock()
		o := options(t, somewhere(t))
		o.Now = clock.Now
		env := clock.Env()
		env.Reopen = func(t *testing.T) store.Durable { return open(t, o) }
		return &pair{Durable: open(t, o), other: open(t, o)}, env
	})
}

// pair sends every second group of changes, and all single reads, to the other of two DBs over one file.
type pair struct {
	store.Durable
	other store.Durable
	calls atomic.Int64
}

func (p *pair) Get(ctx context.Context, key string) (store.Record, error) {
	return p.other.Get(ctx, key)
}

func (p *pair) WriteAll(ctx context.Context, all ...store.Write) error {
	if p.calls.Add(1)%2 == 0 {
		return p.other.WriteAll(ctx, all...)
	}
	return p.Durable.WriteAll(ctx, all...)
}

func (p *pair) Close() error { return errors.Join(p.Durable.Close(), p.other.Close()) }

func TestRekey(t *testing.T) {
	o := options(t, somewhere(t))
	o.Key = under(t, 2, 1)
	old := o
	old.Key = under(t, 1)
	first := open(t, old)
	put(t, first, "a", "1")
	second := open(t, o)
	put(t, second, "b", "2")
	if err := second.Rekey(context.Background(), key(t, 2)); err != nil {
		t.Fatal(err)
	}
	has(t, second, "a", "1")
	put(t, second, "c", "3")
	has(t, second, "b", "2")
	_ = first.Close()
	_ = second.Close()
	if _, err := Open(context.Background(), old); !errors.Is(err, ErrKey) {
		t.Fatalf("opened with the old key: %v", err)
	}
	o.Key = under(t, 2)
	third := open(t, o)
	has(t, third, "c", "3")
	if err := third.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A change of key doesn't wait for a slow copy, nor do writers: the copy ends, and says why.
func TestRekeyEndsASnapshot(t *testing.T) {
	o := options(t, somewhere(t))
	o.Key, o.Share = under(t, 1, 2), 0.001
	for _, who := range []string{"the same process", "another"} {
		t.Run(who, func(t *testing.T) {
			d := open(t, o)
			for i := range 10 {
				put(t, d, fmt.Sprint("k/", i), strings.Repeat("x", 500_000))
			}
			other := d
			if who == "another" {
				other = open(t, o)
			}
			copied, started := filepath.Join(t.TempDir(), "copy.db"), make(chan struct{})
			answer := make(chan error, 1)
			go func() {
				var once sync.Once
				answer <- d.Snapshot(context.Background(), copied, key(t, 9), func(int64, int64, string) { once.Do(func() { close(started) }) })
			}()
			<-started
			began := time.Now()
			if err := other.Rekey(context.Background(), key(t, 2)); err != nil {
				t.Error(err)
			}
			put(t, d, "after", "x")
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("waited %v", took)
			}
			if err := <-answer; !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, errYield) {
				t.Errorf("the copy: %v", err)
			}
			if left, _ := filepath.Glob(copied + "*"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	o := options(t, somewhere(t))
	d := open(t, o)
	put(t, d, "a", "1")
	copied := filepath.Join(filepath.Dir(o.Path), "copy.db")
	var told int64
	if err := d.Snapshot(context.Background(), copied, key(t, 9), func(done, _ int64, _ string) { told = done }); err != nil {
		t.Fatal(err)
	}
	if told == 0 {
		t.Error("no progress was told")
	}
	if err := d.Snapshot(context.Background(), copied, key(t, 9), nil); err == nil {
		t.Error("a copy was made over a file")
	}
	put(t, d, "a", "2")
	o.Path, o.Key, o.MustExist = copied, under(t, 9), true
	has(t, open(t, o), "a", "1")
	has(t, d, "a", "2")
}

func secretOf(b byte) (secret.Value, error) {
	return secret.New(bytes.Repeat([]byte{b}, keySize), "test")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func secretFrom(text string) (Keys, error) {
	v, err := secret.New([]byte(text), "test")
	return func() (secret.Value, []secret.Value) { return v, nil }, err
}

// Whoever asks again and again what is new hears of every write, of this process and of another, also of those that follow
// each other within one tick of the file system's clock; when nothing is written the file is not even opened.
func TestSinceBetweenWrites(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Path: filepath.Join(dir, "s.db"), Key: under(t, 1), Now: time.Now})
	b := open(t, Options{Path: filepath.Join(dir, "s.db"), Key: under(t, 1), Now: time.Now})
	mark, known, skipped := "", 0, 0
	follow := func() {
		t.Helper()
		if _, _, nothing := a.nothingSince(mark); nothing {
			skipped++
		}
		list, next, err := a.Since(t.Context(), "x/", mark)
		if err != nil {
			t.Fatal(err)
		}
		mark, known = next, known+len(list)
	}
	follow()
	for i := range 200 {
		from := []*DB{a, b}[i%2]
		if _, err := from.Write(t.Context(), store.Write{Key: fmt.Sprintf("x/%03d", i), Value: []byte("v"), Version: store.Any}); err != nil {
			t.Fatal(err)
		}
		if follow(); known != i+1 {
			t.Fatalf("%d of %d writes are known", known, i+1)
		}
		if i%40 == 39 {
			time.Sleep(still + 20*time.Millisecond)
			follow()
			follow()
		}
	}
	if skipped < 5 {
		t.Errorf("of 10 looks at a file at rest %d were cheap", skipped)
	}
}
