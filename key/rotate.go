package key

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Rotation is one change of a purpose's key, from its first step to its last.
type Rotation struct {
	Purpose string   `json:"purpose"`
	From    []uint32 `json:"from"`    // versions that still open and are to be destroyed, newest first; none: nothing to do
	To      uint32   `json:"to"`      // the version that seals
	Resumed bool     `json:"resumed"` // an earlier rotation had not ended: no new version was made
	Done    bool     `json:"done"`    // the versions of From are destroyed
}

// Reseal seals everything of the rotation's purpose that is not Current anew (or encrypts a file anew by Derive). It may be
// called again after a crash, and must then go on.
type Reseal func(ctx context.Context, r Rotation) error

// Left counts what still needs one of the versions in From: records that are not Current, nodes whose status has a lower
// generation of the keyring (they may still seal with an old key), a file that opens with an old key only.
type Left func(ctx context.Context, r Rotation) (int64, error)

// Rotate changes the key of a purpose while everything goes on: the new version is saved first, reseal does its work, and
// when left finds nothing the old versions are destroyed. Broken off at any point nothing is lost: all versions that
// anything was sealed with still open it, and Rotate called again goes on where it was (row K9).
func (r *Ring) Rotate(ctx context.Context, purpose string, reseal Reseal, left Left) (Rotation, error) {
	rotation, err := r.Begin(ctx, purpose)
	if err != nil {
		return rotation, err
	}
	if err := reseal(ctx, rotation); err != nil {
		return rotation, fmt.Errorf("seal everything of %q anew with version %d: %w (nothing is lost; rotate again to go on)", purpose, rotation.To, err)
	}
	return r.Retire(ctx, rotation, left)
}

// Begin saves a new version of the purpose's key and seals with it from now on, or finds a rotation that has not ended.
func (r *Ring) Begin(ctx context.Context, purpose string) (Rotation, error) {
	if _, err := r.Refresh(ctx); err != nil {
		return Rotation{}, err
	}
	if rotation, err := r.rotation(purpose); err != nil || len(rotation.From) > 0 {
		rotation.Resumed = true
		return rotation, err
	}
	err := r.update(ctx, func(s *state) error {
		keys := s.keys[purpose]
		if len(keys) > 1 {
			return nil // another node has just begun: its rotation is ours
		}
		if keys[0].version == math.MaxUint32 {
			return fmt.Errorf("the versions of %q are used up", purpose)
		}
		m, err := fresh(r.random)
		if err != nil {
			return err
		}
		s.keys[purpose] = append([]living{{keys[0].version + 1, r.stamp(), m}}, keys...)
		return nil
	})
	if err != nil {
		return Rotation{}, err
	}
	return r.rotation(purpose)
}

// rotation describes what is to be done for a purpose.
func (r *Ring) rotation(purpose string) (Rotation, error) {
	keys, err := r.living(purpose)
	if err != nil {
		return Rotation{}, err
	}
	rotation := Rotation{Purpose: purpose, To: keys[0].version}
	for _, l := range keys[1:] {
		rotation.From = append(rotation.From, l.version)
	}
	return rotation, nil
}

// Retire destroys the versions in From when left finds nothing that needs them, and is the last step of a rotation.
func (r *Ring) Retire(ctx context.Context, rotation Rotation, left Left) (Rotation, error) {
	switch n, err := left(ctx, rotation); {
	case err != nil:
		return rotation, fmt.Errorf("count what is left under the old key of %q: %w (nothing is lost; rotate again to go on)", rotation.Purpose, err)
	case n != 0:
		return rotation, fmt.Errorf("%d still need the old key of %q: it is kept; rotate again to go on", n, rotation.Purpose)
	}
	err := r.update(ctx, func(s *state) error {
		keys := s.keys[rotation.Purpose]
		if len(keys) == 0 || keys[0].version < rotation.To {
			return fmt.Errorf("%w: version %d of the key for %q is not in the keyring", ErrUnknown, rotation.To, rotation.Purpose)
		}
		s.keys[rotation.Purpose] = slices.DeleteFunc(keys, func(l living) bool {
			return l.version < rotation.To && slices.Contains(rotation.From, l.version)
		})
		return nil
	})
	rotation.Done = err == nil
	return rotation, err
}

// Rekey changes the root key: a new ring key, wrapped by the new root, wraps all keys anew, in one step. Words or shares that
// the new root makes are given to hand before anything is changed; when hand fails, nothing is. Afterwards the old root opens
// the keyring no more. It does open older copies of it, and the purposes' keys in these: rotate what must not be readable by
// whoever has the old root key and such a copy.
func (r *Ring) Rekey(ctx context.Context, root Root, hand func(Handout) error) error {
	if _, err := r.Refresh(ctx); err != nil {
		return err
	}
	installation := r.state.Load().Installation
	ring, err := fresh(r.random)
	if err != nil {
		return err
	}
	envelope, err := root.Wrap(ctx, bytes.Clone(ring.bytes()), rootAAD(installation))
	if err != nil {
		return fmt.Errorf("wrap by the new root: %w", err)
	}
	minter, mints := root.(Minter)
	if err = proven(ctx, root, envelope, ring, installation); err == nil && mints {
		err = hand(minter.Handout())
	}
	if err != nil {
		if mints {
			err = errors.Join(err, minter.Settle(false))
		}
		return fmt.Errorf("the root key was not changed: %w", err)
	}
	return r.adopt(ctx, root, envelope, ring)
}

// adopt saves the keyring under another root.
func (r *Ring) adopt(ctx context.Context, root Root, envelope Envelope, ring material) error {
	r.setRoot(func() { r.coming = ring })
	err := r.update(ctx, func(s *state) error {
		s.ring, s.Root = ring, envelope
		return nil
	})
	if err != nil { // it may have been saved all the same
		if _, unknown := r.Refresh(ctx); unknown != nil {
			return fmt.Errorf("%w; it is not known whether the old root key or the new one opens it now: keep both, look again when %s can be reached (%w)", err, r.place.Where(), unknown)
		}
	}
	minter, mints := root.(Minter)
	took := bytes.Equal(r.state.Load().Root.Data, envelope.Data)
	r.setRoot(func() {
		r.coming = material{}
		if took {
			r.root = root
		}
	})
	if mints {
		if settled := minter.Settle(took); took {
			return settled
		}
	}
	if took {
		return nil
	}
	return err
}

func (r *Ring) setRoot(set func()) {
	r.change.Lock()
	defer r.change.Unlock()
	set()
}

// proven lets a root open what it has just wrapped, before anything depends on it. Shares cannot: nobody has them yet.
func proven(ctx context.Context, root Root, e Envelope, ring material, installation string) error {
	if e.Kind == kindShares {
		return nil
	}
	plain, err := root.Unwrap(ctx, e, rootAAD(installation))
	if err == nil && !bytes.Equal(plain, ring.bytes()) {
		err = ErrWrong
	}
	clear(plain)
	if err != nil {
		return fmt.Errorf("the new root does not open what it has just wrapped: %w", err)
	}
	return nil
}

// stamp is the time as a keyring keeps it.
func (r *Ring) stamp() time.Time { return r.now().UTC().Truncate(time.Second) }
