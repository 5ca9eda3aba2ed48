package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

func TestCopy(t *testing.T) {
	ctx, end := context.Background(), time.Now().Add(time.Hour)
	for name, wrap := range map[string]func(store.Durable) store.Durable{
		"plain":  func(d store.Durable) store.Durable { return d },
		"sealed": func(d store.Durable) store.Durable { return store.Sealed(d, &gcm{}, "records") },
	} {
		t.Run(name, func(t *testing.T) {
			from, to := wrap(scratch(t)), wrap(scratch(t))
			for i := range 300 {
				set(t, from, fmt.Sprintf("r/%03d", i), fmt.Sprint("value ", i), time.Time{})
			}
			set(t, from, "~odd", "", end)
			set(t, from, "r/000", "again", end)
			set(t, from, "gone", "x", time.Now().Add(-time.Hour))
			told := int64(0)
			c, err := store.Copy(ctx, from, to, func(done, _ int64, _ string) { told = done })
			if err != nil || c.Records != 301 || told < 301 {
				t.Fatalf("%+v, told %d, %v", c, told, err)
			}
			for _, key := range []string{"r/000", "r/299", "~odd"} {
				a, err := from.Get(ctx, key)
				must(t, err)
				b, err := to.Get(ctx, key)
				must(t, err)
				if string(a.Value) != string(b.Value) || !a.Expires.Equal(b.Expires) || b.Version != 1 {
					t.Errorf("%+v became %+v", a, b)
				}
			}
			if _, err := store.Copy(ctx, from, to, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("copied over what was there: %v", err)
			}
		})
	}
}

// A source in use: what is written, changed and removed while the copy runs arrives, too.
func TestCopyOfALiveStore(t *testing.T) {
	ctx := context.Background()
	from, to := scratch(t), scratch(t)
	for i := range 500 {
		set(t, from, fmt.Sprintf("r/%03d", i), "v", time.Time{})
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; i < 400; i++ {
			select {
			case <-stop:
				return
			default:
			}
			set(t, from, fmt.Sprintf("r/%03d", i%50), fmt.Sprint("w", i), time.Time{})
			set(t, from, fmt.Sprintf("new/%03d", i), "n", time.Time{})
			if _, err := from.Write(ctx, store.Write{Key: fmt.Sprintf("r/%03d", 499-i%200), Version: store.Any}); err != nil {
				t.Error(err)
			}
		}
	})
	// Writers end when the copy has come to compare for the first time; then it must come to an end by itself.
	var once sync.Once
	c, err := store.Copy(ctx, from, to, func(_, _ int64, what string) {
		if what == "compare" {
			once.Do(func() { close(stop); wg.Wait() })
		}
	})
	must(t, err)
	want, err := from.List(ctx, "", "", 10_000)
	must(t, err)
	got, err := to.List(ctx, "", "", 10_000)
	must(t, err)
	if len(got) != len(want) || c.Records != int64(len(want)) {
		t.Fatalf("%d records became %d, told as %d", len(want), len(got), c.Records)
	}
	for i := range want {
		if want[i].Key != got[i].Key || string(want[i].Value) != string(got[i].Value) {
			t.Fatalf("%s=%s became %s=%s", want[i].Key, want[i].Value, got[i].Key, got[i].Value)
		}
	}
}

func TestCopyOneEndSealed(t *testing.T) {
	from, to := scratch(t), scratch(t)
	if _, err := store.Copy(context.Background(), store.Sealed(from, &gcm{}, "records"), to, nil); err == nil {
		t.Error("opened values were copied to a store without seals")
	}
}
