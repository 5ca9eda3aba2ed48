package store_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
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
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
	"github.com/gatehouse-sec/gatehouse/store/storetest"
)

// gcm seals with AES-GCM under numbered keys; the first byte says which.
type gcm struct{ newest atomic.Int32 }

func (g *gcm) aead(purpose string, n byte) cipher.AEAD {
	block, _ := aes.NewCipher(bytes.Repeat([]byte{n, byte(len(purpose))}, 16))
	a, _ := cipher.NewGCM(block)
	return a
}

func (g *gcm) Seal(purpose string, plain, aad []byte) ([]byte, error) {
	n := byte(g.newest.Load())
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	return g.aead(purpose, n).Seal(append([]byte{n}, nonce...), nonce, plain, aad), nil
}

func (g *gcm) Open(purpose string, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < 13 {
		return nil, errors.New("too short")
	}
	return g.aead(purpose, sealed[0]).Open(nil, sealed[1:13], sealed[13:], aad)
}

func (g *gcm) Current(_ string, sealed []byte) bool {
	return len(sealed) > 0 && sealed[0] == byte(g.newest.Load())
}

func database(t *testing.T, path string, now func() time.Time) *sqlite.DB {
	t.Helper()
	key, err := secret.New(bytes.Repeat([]byte{7}, 32), "test")
	if err != nil {
		t.Fatal(err)
	}
	d, err := sqlite.Open(context.Background(), sqlite.Options{Path: path, Now: now,
		Key: func() (secret.Value, []secret.Value) { return key, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func scratch(t *testing.T) *sqlite.DB {
	return database(t, filepath.Join(t.TempDir(), "s", "g.db"), time.Now)
}

func TestSealedIsDurable(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (store.Durable, storetest.Env) {
		clock, path, g := storetest.NewClock(), filepath.Join(t.TempDir(), "s", "g.db"), &gcm{}
		env := clock.Env()
		env.Reopen = func(t *testing.T) store.Durable {
			return store.Sealed(database(t, path, clock.Now), g, "records")
		}
		return env.Reopen(t), env
	})
}

func TestSealedRecordsAreRecords(t *testing.T) {
	storetest.Records(t, func(t *testing.T) (store.Records, storetest.Env) {
		clock := storetest.NewClock()
		d := database(t, filepath.Join(t.TempDir(), "s", "g.db"), clock.Now)
		return store.SealedRecords(d, &gcm{}, "records"), clock.Env()
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, s store.Records, key, value string, expires time.Time) {
	t.Helper()
	_, err := s.Write(context.Background(), store.Write{Key: key, Value: []byte(value), Version: store.Any, Expires: expires})
	must(t, err)
}

// Row K8: who can write to the database exchanges rows, brings back old values, moves ends, flips bits.
func TestK8WhatIsAlteredFails(t *testing.T) {
	const canary = "canary-4711"
	ctx, end := context.Background(), time.Now().Add(time.Hour)
	for name, attack := range map[string]func(t *testing.T, raw store.Durable, a, old store.Record){
		"another row's value": func(t *testing.T, raw store.Durable, a, _ store.Record) {
			b, err := raw.Get(ctx, "b")
			must(t, err)
			must(t, replace(raw, a, b.Value, a.Expires))
		},
		"an old value under a new version": func(t *testing.T, raw store.Durable, a, old store.Record) {
			must(t, replace(raw, a, old.Value, a.Expires))
		},
		"a longer life": func(t *testing.T, raw store.Durable, a, _ store.Record) {
			must(t, replace(raw, a, a.Value, a.Expires.Add(time.Hour)))
		},
		"a life without end": func(t *testing.T, raw store.Durable, a, _ store.Record) {
			must(t, replace(raw, a, a.Value, time.Time{}))
		},
		"a flipped bit": func(t *testing.T, raw store.Durable, a, _ store.Record) {
			a.Value[len(a.Value)-1] ^= 1
			must(t, replace(raw, a, a.Value, a.Expires))
		},
		"nothing": func(t *testing.T, raw store.Durable, a, _ store.Record) {
			must(t, replace(raw, a, []byte{}, a.Expires))
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := scratch(t)
			s := store.Sealed(raw, &gcm{}, "records")
			set(t, s, "a", canary+"-old", end)
			old, err := raw.Get(ctx, "a")
			must(t, err)
			set(t, s, "a", canary, end)
			set(t, s, "b", canary, end)
			a, err := raw.Get(ctx, "a")
			must(t, err)
			if bytes.Contains(a.Value, []byte(canary)) {
				t.Fatal("the value is not sealed")
			}
			attack(t, raw, a, old)
			_, err = s.Get(ctx, "a")
			_, err2 := s.List(ctx, "", "", 10)
			_, _, err3 := s.Since(ctx, "", "")
			for i, err := range []error{err, err2, err3} {
				if !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), `"a"`) || strings.Contains(err.Error(), canary) {
					t.Errorf("way %d of reading: %v", i, err)
				}
			}
			if r, err := s.Get(ctx, "b"); err != nil || string(r.Value) != canary {
				t.Errorf("the other record: %q, %v", r.Value, err)
			}
		})
	}
}

// replace puts a value under the next version, as a thief with the database in hand would; Write counts the version
// itself, so the record is made anew until it has the version it had.
func replace(raw store.Durable, r store.Record, value []byte, expires time.Time) error {
	ctx := context.Background()
	if _, err := raw.Write(ctx, store.Write{Key: r.Key, Version: store.Any}); err != nil {
		return err
	}
	for range r.Version {
		if _, err := raw.Write(ctx, store.Write{Key: r.Key, Value: value, Version: store.Any, Expires: expires}); err != nil {
			return err
		}
	}
	return nil
}

// The test's own tool must not be what fails: put back as it was, a record opens.
func TestReplaceIsFaithful(t *testing.T) {
	raw := scratch(t)
	s := store.Sealed(raw, &gcm{}, "records")
	set(t, s, "a", "1", time.Time{})
	set(t, s, "a", "2", time.Time{})
	r, err := raw.Get(context.Background(), "a")
	must(t, err)
	must(t, replace(raw, r, r.Value, r.Expires))
	got, err := s.Get(context.Background(), "a")
	if err != nil || string(got.Value) != "2" {
		t.Fatalf("%q, %v", got.Value, err)
	}
}

func TestSealedForAnotherPurpose(t *testing.T) {
	raw, g := scratch(t), &gcm{}
	set(t, store.Sealed(raw, g, "records"), "a", "1", time.Time{})
	if _, err := store.Sealed(raw, g, "another purpose").Get(context.Background(), "a"); !errors.Is(err, store.ErrSealed) {
		t.Fatalf("opened for another purpose: %v", err)
	}
}

// Rotation under load: every record ends under the new key, none is lost, whatever writers do meanwhile.
func TestResealWhileWriting(t *testing.T) {
	ctx := context.Background()
	raw, g := scratch(t), &gcm{}
	s := store.Sealed(raw, g, "records")
	for i := range 150 {
		set(t, s, fmt.Sprintf("r/%03d", i), "v", time.Time{})
	}
	g.newest.Store(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var written atomic.Int64
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Write(ctx, store.Write{Key: fmt.Sprintf("r/%03d", i%10), Value: fmt.Appendf(nil, "w%d", i), Version: store.Any}); err != nil {
				t.Error(err)
				return
			}
			written.Store(int64(i))
		}
	})
	n, err := store.Reseal(ctx, s, func(int64, int64, string) {})
	close(stop)
	wg.Wait()
	if err != nil || n < 140 {
		t.Fatalf("%d sealed again, %v", n, err)
	}
	list, err := raw.List(ctx, "", "", 1000)
	must(t, err)
	for _, r := range list {
		if !g.Current("records", r.Value) {
			t.Errorf("%s is still under the old key", r.Key)
		}
	}
	if opened, err := s.List(ctx, "", "", 1000); err != nil || len(opened) != 150 {
		t.Fatalf("%d records, %v", len(opened), err)
	}
	if n, err = store.Reseal(ctx, s, nil); n != 0 || err != nil {
		t.Fatalf("again: %d, %v", n, err)
	}
	if _, err := store.Reseal(ctx, raw, nil); err == nil {
		t.Error("a store that is not sealed was sealed again")
	}
}

// limited fails after a number of writes: the crash in the middle of a rotation (row K9).
type limited struct {
	store.Durable
	left int
}

func (l *limited) Write(ctx context.Context, w store.Write) (int64, error) {
	if l.left--; l.left < 0 {
		return 0, store.ErrUnavailable
	}
	return l.Durable.Write(ctx, w)
}

func TestK9ResealGoesOnAfterACrash(t *testing.T) {
	ctx := context.Background()
	raw, g := scratch(t), &gcm{}
	whole := store.Sealed(raw, g, "records")
	for i := range 20 {
		set(t, whole, fmt.Sprintf("r/%03d", i), "v", time.Now().Add(time.Hour))
	}
	g.newest.Store(1)
	var sum int64
	for runs := 0; ; runs++ {
		n, err := store.Reseal(ctx, store.Sealed(&limited{raw, 3}, g, "records"), nil)
		sum += n
		if list, bad := whole.List(ctx, "", "", 100); bad != nil || len(list) != 20 {
			t.Fatalf("after %d runs %d records, %v", runs, len(list), bad)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrUnavailable) || runs > 20 {
			t.Fatal(err)
		}
	}
	if sum != 20 {
		t.Errorf("%d sealed again, want 20", sum)
	}
}
