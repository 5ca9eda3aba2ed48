// Package keytest is the suite that every key.Place and every key.Root must pass, whoever writes it.
package keytest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-sec/gatehouse/key"
)

// Place tests an implementation. Each call of open gives the same, at first empty place as another process would see it.
func Place(t *testing.T, open func() key.Place) {
	t.Helper()
	ctx := t.Context()
	p := open()
	if p.Where() == "" {
		t.Error("the place does not say where it is")
	}
	data, version, err := p.Load(ctx)
	if err != nil || data != nil || version != 0 {
		t.Fatalf("an empty place gives %q, %d, %v", data, version, err)
	}
	if _, err := p.Save(ctx, []byte("a"), 7); !errors.Is(err, key.ErrConflict) {
		t.Fatalf("a version that is not there was replaced: %v", err)
	}
	first, err := p.Save(ctx, []byte("first"), 0)
	if err != nil || first == 0 {
		t.Fatalf("save: %d %v", first, err)
	}
	if _, err := open().Save(ctx, []byte("other"), 0); !errors.Is(err, key.ErrConflict) {
		t.Fatalf("a second keyring was made over the first: %v", err)
	}
	second, err := open().Save(ctx, []byte("second"), first)
	if err != nil || second == first || second == 0 {
		t.Fatalf("save: %d %v", second, err)
	}
	if _, err := p.Save(ctx, []byte("late"), first); !errors.Is(err, key.ErrConflict) {
		t.Fatalf("a change was undone unseen: %v", err)
	}
	data, version, err = p.Load(ctx)
	if err != nil || string(data) != "second" || version != second {
		t.Fatalf("%q %d %v, want second %d", data, version, err, second)
	}
	data[0] = 'X'
	if again, _, _ := p.Load(ctx); string(again) != "second" {
		t.Error("what is given out is not the caller's own copy")
	}
	oneWins(t, open)
}

// oneWins: of many that change the same version one does, and nobody else's bytes remain.
func oneWins(t *testing.T, open func() key.Place) {
	t.Helper()
	ctx := t.Context()
	for round := range 5 {
		_, version, err := open().Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		won := make(chan string, 8)
		for i := range 8 {
			text := strings.Repeat(string(rune('a'+i)), 5000+round)
			wg.Go(func() {
				switch _, err := open().Save(ctx, []byte(text), version); {
				case err == nil:
					won <- text
				case !errors.Is(err, key.ErrConflict):
					t.Errorf("save: %v", err)
				}
			})
		}
		wg.Wait()
		close(won)
		data, _, err := open().Load(ctx)
		if len(won) != 1 || err != nil || string(data) != <-won {
			t.Fatalf("%d won, and the place holds another: %v", len(won), err)
		}
	}
}

// Root tests an implementation. Each call of open gives the same root as another process would have it; other gives one of
// the same kind with another key.
func Root(t *testing.T, open func() key.Root, other func() key.Root) {
	t.Helper()
	ctx := t.Context()
	plain, aad := bytes.Repeat([]byte{7, 9}, 16), []byte("here")
	e, err := open().Wrap(ctx, bytes.Clone(plain), aad)
	if err != nil {
		t.Fatalf("wrap: %v", err)
	}
	if bytes.Contains(e.Data, plain) || len(e.Data) == 0 {
		t.Fatal("it is not encrypted")
	}
	if got, err := open().Unwrap(ctx, e, aad); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("unwrap: %v", err)
	}
	again, err := open().Wrap(ctx, bytes.Clone(plain), aad)
	if err != nil || bytes.Equal(again.Data, e.Data) {
		t.Errorf("wrapped twice it is the same: %v", err)
	}
	if got, err := open().Unwrap(ctx, e, []byte("elsewhere")); err == nil || got != nil {
		t.Error("it opens at another place (K8)")
	}
	step := max(1, len(e.Data)/16) // some roots take their time
	for i := 0; i < len(e.Data); i += step {
		flipped := e
		flipped.Data = bytes.Clone(e.Data)
		flipped.Data[i] ^= 1
		if got, err := open().Unwrap(ctx, flipped, aad); err == nil || got != nil {
			t.Errorf("it opens with byte %d changed", i)
		}
	}
	foreign := e
	foreign.Kind = "nothing"
	if _, err := open().Unwrap(ctx, foreign, aad); !errors.Is(err, key.ErrWrong) {
		t.Errorf("an envelope of another kind: %v", err)
	}
	if _, err := other().Unwrap(ctx, e, aad); !errors.Is(err, key.ErrWrong) && !errors.Is(err, key.ErrLost) && !errors.Is(err, key.ErrWaiting) {
		t.Errorf("another root: %v", err)
	}
	if d := open().Describe(); d.Kind == "" || d.Where == "" {
		t.Errorf("it does not describe itself: %+v", d)
	}
}
