package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/store"
)

// freshSealer seals what is to last, and only with a keyring that was looked at a moment ago. Another node may have changed
// the key since and destroyed the old one: a record that was sealed with it could never be read again. Whoever changes keys
// waits for longer than that moment before it destroys any (see awaitSealed). A node that can't look can't write to the store
// either, so that nothing is refused that would have gone well.
type freshSealer struct {
	*key.Ring
	clock  func() time.Time
	looked atomic.Int64 // when it was begun to look at the keyring, by the clock
}

// The bounds of that: how old a look may be, and how long looking may take.
const (
	freshFor = 3 * time.Second
	lookFor  = 5 * time.Second
)

func newFreshSealer(ring *key.Ring) *freshSealer {
	s := &freshSealer{Ring: ring, clock: steady()}
	s.looked.Store(s.clock().Add(-2 * freshFor).UnixNano()) // it may have waited for its root key since it was read
	return s
}

// Refresh takes over what another process has changed.
func (s *freshSealer) Refresh(ctx context.Context) (changed bool, err error) {
	begun := s.clock().UnixNano()
	if changed, err = s.Ring.Refresh(ctx); err == nil {
		s.looked.Store(begun)
	}
	return changed, err
}

// Seal seals with the newest key.
func (s *freshSealer) Seal(purpose string, plain, aad []byte) ([]byte, error) {
	if s.clock().UnixNano()-s.looked.Load() > int64(freshFor) {
		ctx, end := context.WithTimeout(context.Background(), lookFor)
		defer end()
		if _, err := s.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("%w: the keyring can't be looked at, so nothing is sealed: %w", store.ErrUnavailable, err)
		}
	}
	return s.Ring.Seal(purpose, plain, aad)
}

// awaitSealed waits until nothing can be on its way to the store any more that another process has sealed with an older key
// than the newest, which was saved before.
func (h *held) awaitSealed(ctx context.Context, tell control.Progress) error {
	if h.file != nil {
		if running, err := control.Find(h.places.control()); err == nil && len(running) <= 1 {
			return nil // nobody else
		}
	}
	tell(0, 0, "waiting for what other nodes are just writing")
	select {
	case <-time.After(freshFor + h.document.store.Defaults().Timeouts.Call + time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
