package key

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Ring holds the opened keys. It seals and opens (store.Sealer), derives, rotates, and may be used by many goroutines.
// Several processes may share one keyring: each opens it, and finds what another has changed by Refresh.
type Ring struct {
	place  Place
	now    func() time.Time
	random io.Reader

	state atomic.Pointer[state] // never changed, only replaced

	change sync.Mutex // held by whoever replaces state
	root   Root
	coming material  // the ring key that a Rekey is saving
	asked  time.Time // when an unknown version was last looked for in the place
}

// state is one generation of the keyring, opened.
type state struct {
	document
	placed int64 // the place's version
	ring   material
	keys   map[string][]living // newest first
}

// living is one version of a purpose's key.
type living struct {
	version uint32
	created time.Time
	key     material
}

// unlock opens a document's keys with its ring key, after it has proven to be authentic.
func (d document) unlock(ring material, placed int64) (*state, error) {
	if !d.authentic(ring) {
		return nil, fmt.Errorf("%w: it was changed by somebody who does not have the root key", ErrDamaged)
	}
	s := &state{document: d, placed: placed, ring: ring, keys: map[string][]living{}}
	for _, p := range d.Purposes {
		for _, w := range slices.Backward(p.Keys) {
			plain, err := ring.open("purpose", w.Key, purposeAAD(d.Installation, p.Name, w.Version))
			if err != nil {
				return nil, fmt.Errorf("%w: version %d of the key for %q does not open", ErrDamaged, w.Version, p.Name)
			}
			m, err := take(plain)
			if err != nil {
				return nil, fmt.Errorf("%w: version %d of the key for %q: %w", ErrDamaged, w.Version, p.Name, err)
			}
			s.keys[p.Name] = append(s.keys[p.Name], living{w.Version, w.Created, m})
		}
	}
	return s, nil
}

// unwrapRing asks a root for the ring key of a document.
func unwrapRing(ctx context.Context, root Root, d document) (material, error) {
	plain, err := root.Unwrap(ctx, d.Root, rootAAD(d.Installation))
	if err != nil {
		return material{}, err
	}
	ring, err := take(plain)
	if err != nil {
		return material{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return ring, nil
}

// wrap encrypts one purpose key for the document.
func (s *state) wrap(random io.Reader, name string, l living) (wrapped, error) {
	sealed, err := s.ring.seal(random, "purpose", nil, l.key.bytes(), purposeAAD(s.Installation, name, l.version))
	return wrapped{Version: l.version, Created: l.created, Key: sealed}, err
}

// rewrite makes the document's list of purposes from the living keys, all wrapped anew.
func (s *state) rewrite(random io.Reader) error {
	s.Purposes = nil
	for name, keys := range s.keys {
		p := purpose{Name: name}
		for _, l := range slices.Backward(keys) {
			w, err := s.wrap(random, name, l)
			if err != nil {
				return err
			}
			p.Keys = append(p.Keys, w)
		}
		s.Purposes = append(s.Purposes, p)
	}
	slices.SortFunc(s.Purposes, func(a, b purpose) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// next is a copy to change: the same ring key, keys and root.
func (s *state) next() *state {
	n := *s
	n.Generation++
	n.keys = map[string][]living{}
	for name, keys := range s.keys {
		n.keys[name] = slices.Clone(keys)
	}
	return &n
}

// save stores a state in the place and returns the version that it has there.
func (s *state) save(ctx context.Context, place Place) error {
	data, err := s.encode(s.ring)
	if err != nil {
		return err
	}
	if what := s.wrong(); what != "" {
		return fmt.Errorf("the keyring is not saved: %s", what)
	}
	if s.placed, err = place.Save(ctx, data, s.placed); err != nil {
		return fmt.Errorf("save the keyring to %s: %w", place.Where(), err)
	}
	return nil
}

// update changes the keyring: edit works on a copy, the copy is saved, and only then used. When another process was
// faster, edit is done again over what that process left.
func (r *Ring) update(ctx context.Context, edit func(*state) error) error {
	r.change.Lock()
	defer r.change.Unlock()
	for attempt := 0; ; attempt++ {
		n := r.state.Load().next()
		if err := edit(n); err != nil {
			return err
		}
		if err := n.rewrite(r.random); err != nil {
			return err
		}
		err := n.save(ctx, r.place)
		if err == nil {
			r.state.Store(n)
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			_, _ = r.refresh(ctx) // it may have been saved all the same
			return err
		}
		if attempt == 5 {
			return err
		}
		if _, err := r.refresh(ctx); err != nil {
			return err
		}
	}
}

// Refresh takes over what another process has changed. It tells whether anything has changed. On an error the keys that are
// known stay in use. Call it every few seconds where several nodes share a keyring.
func (r *Ring) Refresh(ctx context.Context) (changed bool, err error) {
	r.change.Lock()
	defer r.change.Unlock()
	return r.refresh(ctx)
}

func (r *Ring) refresh(ctx context.Context) (bool, error) {
	old := r.state.Load()
	data, placed, err := r.place.Load(ctx)
	switch {
	case err != nil:
		return false, err
	case data == nil:
		return false, fmt.Errorf("%w: the keyring has gone from %s while in use; put it back from a backup", ErrLost, r.place.Where())
	case placed == old.placed:
		return false, nil
	}
	d, err := parse(data)
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.place.Where(), err)
	}
	if d.Installation != old.Installation {
		return false, fmt.Errorf("%w: %s holds the keyring of installation %s now, this is %s", ErrDamaged, r.place.Where(), d.Installation, old.Installation)
	}
	if d.Generation < old.Generation {
		return false, fmt.Errorf("%w: %s has generation %d, older than %d which is in use; an old copy was put over it", ErrDamaged, r.place.Where(), d.Generation, old.Generation)
	}
	ring := old.ring
	if r.coming.bytes != nil && d.authentic(r.coming) {
		ring = r.coming
	}
	if !d.authentic(ring) {
		if ring, err = unwrapRing(ctx, r.root, d); err != nil {
			return false, fmt.Errorf("the root key of %s was changed by another process, and the one here does not open it (name the new root in the document and restart): %w", r.place.Where(), err)
		}
	}
	s, err := d.unlock(ring, placed)
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.place.Where(), err)
	}
	r.state.Store(s)
	return true, nil
}

// Format prints a name and nothing of what is inside.
func (r *Ring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("key.Ring")) }
