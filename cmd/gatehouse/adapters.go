package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/upstream/authority"
)

// Parts that remember something declare what they need of a store; here they get it.

// keyringKey is where the keyring lies in a store that nodes share.
const keyringKey = "keyring"

// recordPlace keeps the keyring as a record. It is wrapped already, so it is kept as it is.
type recordPlace struct{ in store.Records }

func (p recordPlace) Load(ctx context.Context) ([]byte, int64, error) {
	r, err := p.in.Get(ctx, keyringKey)
	if errors.Is(err, store.ErrNone) {
		return nil, 0, nil
	}
	return r.Value, r.Version, err
}

func (p recordPlace) Save(ctx context.Context, data []byte, version int64) (int64, error) {
	next, err := p.in.Write(ctx, store.Write{Key: keyringKey, Value: data, Version: version})
	if errors.Is(err, store.ErrConflict) {
		err = fmt.Errorf("%w: %w", key.ErrConflict, err)
	}
	return next, err
}

func (p recordPlace) Where() string { return "record " + keyringKey + " of the store" }

// authorityKey is where the internal authority lies.
const authorityKey = "authority/upstream"

// authorityPlace keeps the internal authority as a record, which the store seals.
type authorityPlace struct{ in store.Records }

func (p authorityPlace) Get(ctx context.Context) ([]byte, int64, error) {
	r, err := p.in.Get(ctx, authorityKey)
	if errors.Is(err, store.ErrNone) {
		err = authority.ErrNone
	}
	return r.Value, r.Version, err
}

func (p authorityPlace) Put(ctx context.Context, value []byte, version int64) error {
	_, err := p.in.Write(ctx, store.Write{Key: authorityKey, Value: value, Version: version})
	if errors.Is(err, store.ErrConflict) {
		err = authority.ErrConflict
	}
	return err
}
