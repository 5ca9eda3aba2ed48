package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/store"
)

// checkpointKeys is the record of every public key that has ever signed a checkpoint of the event log: a key that is
// rotated away is destroyed, and what it has signed must be checked for as long as events are kept.
const checkpointKeys = "checkpoint/keys"

// pen signs checkpoints with the newest key for that. The Checkpointer asks for the key before each signature, and makes one
// signature at a time.
type pen struct {
	ring *key.Ring

	mu  sync.Mutex
	key ed25519.PrivateKey
}

func newPen(ring *key.Ring) (*pen, error) {
	p := &pen{ring: ring}
	return p, p.renew()
}

func (p *pen) renew() error {
	seed, err := p.ring.Derive(forAudit, checkpoints)
	if err != nil {
		return fmt.Errorf("key that signs the event log: %w", err)
	}
	defer clear(seed)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = ed25519.NewKeyFromSeed(seed)
	return nil
}

// checkpoints is the label under which the signing key is derived.
const checkpoints = "checkpoints"

// Public gives the key that the next signature is made with.
func (p *pen) Public() ed25519.PublicKey {
	_ = p.renew() // else the one before, which is known as well
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key.Public().(ed25519.PublicKey)
}

// Sign signs a checkpoint.
func (p *pen) Sign(message []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ed25519.Sign(p.key, message), nil
}

// eventKeys are the public keys that may have signed checkpoints here: those that were kept, and those of the ring.
func (h *held) eventKeys(ctx context.Context) ([]ed25519.PublicKey, error) {
	all, _, err := h.keptEventKeys(ctx)
	if err != nil {
		return nil, err
	}
	living, err := h.livingEventKeys()
	return withKeys(all, living), err
}

func (h *held) livingEventKeys() (keys []ed25519.PublicKey, err error) {
	seeds, err := h.ring.DeriveAll(forAudit, checkpoints)
	if err != nil {
		return nil, fmt.Errorf("keys that sign the event log: %w", err)
	}
	for _, seed := range seeds {
		keys = append(keys, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
		clear(seed)
	}
	return keys, nil
}

// withKeys adds those of more that aren't among all.
func withKeys(all, more []ed25519.PublicKey) []ed25519.PublicKey {
	for _, k := range more {
		if !slices.ContainsFunc(all, func(known ed25519.PublicKey) bool { return known.Equal(k) }) {
			all = append(all, k)
		}
	}
	return all
}

func (h *held) keptEventKeys(ctx context.Context) (keys []ed25519.PublicKey, version int64, err error) {
	r, err := h.durable.Get(ctx, checkpointKeys)
	if errors.Is(err, store.ErrNone) {
		return nil, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &keys)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("keys that have signed the event log: %w", err)
	}
	for _, k := range keys {
		if len(k) != ed25519.PublicKeySize {
			return nil, 0, fmt.Errorf("record %s holds something that is no key; restore it from a backup", checkpointKeys)
		}
	}
	return keys, r.Version, nil
}

// keepEventKeys adds the keys of the ring to those that are kept. It comes before anything is signed with a key, and before
// one is destroyed.
func (h *held) keepEventKeys(ctx context.Context) error {
	living, err := h.livingEventKeys()
	if err != nil {
		return err
	}
	for {
		kept, version, err := h.keptEventKeys(ctx)
		if err != nil {
			return err
		}
		all := withKeys(slices.Clone(kept), living)
		if len(all) == len(kept) {
			return nil
		}
		value, err := json.Marshal(all)
		if err != nil {
			return err
		}
		if _, err = h.durable.Write(ctx, store.Write{Key: checkpointKeys, Value: value, Version: version}); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
