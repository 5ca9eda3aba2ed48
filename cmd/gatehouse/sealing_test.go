package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/store"
)

// openedForTest is what an installation remembers, in a place of its own.
func openedForTest(t *testing.T) *held {
	t.Helper()
	o := opening{places: places{state: t.TempDir(), config: t.TempDir()}, log: slog.New(slog.DiscardHandler), now: time.Now}
	o.document.fleet = o.document.fleet.WithDefaults(nil)
	h, err := o.open(t.Context())
	if err == nil {
		h.copies, err = newCopies(h, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// K9: keys change one at a time, and not while a backup copies the store with them. Whoever only looks waits for nobody. Run
// with -race.
func TestKeysChangeOneAtATime(t *testing.T) {
	h := openedForTest(t)
	all := operations(h, nil)
	rotate := func() error {
		_, err := control.Ask[[]key.Rotation](t.Context(), all, "key.rotate", rotation{[]string{forStore}}, nil)
		return err
	}
	h.turn.RLock()
	if err := rotate(); !errors.Is(err, errUnderWay) {
		t.Error("changed while a backup is made:", err)
	}
	h.turn.RUnlock()
	if _, err := h.durable.Write(t.Context(), store.Write{Key: "secret/a", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	var looking, changing sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			if _, err := control.Ask[storeStatus](t.Context(), all, "store.status", nothing{}, nil); err != nil {
				t.Error(err)
			}
			if _, err := control.Ask[key.Status](t.Context(), all, "key.status", nothing{}, nil); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		changing.Go(func() {
			for range 5 {
				if err := rotate(); err != nil && !errors.Is(err, errUnderWay) {
					t.Error(err)
				}
			}
		})
	}
	changing.Wait()
	end()
	looking.Wait()
	if r, err := h.durable.Get(t.Context(), "secret/a"); err != nil || string(r.Value) != "x" {
		t.Error("lost:", r, err)
	}
}
