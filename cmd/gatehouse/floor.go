package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/store"
)

// floorKey is where the newest document is remembered that any node has accepted.
const floorKey = "document/floor"

// floor remembers it in the store, so that a new node takes no older one than the others did.
type floor struct{ in store.Records }

func (f floor) Highest(ctx context.Context) (source.Mark, error) {
	m, _, err := f.read(ctx)
	return m, err
}

func (f floor) read(ctx context.Context) (m source.Mark, version int64, err error) {
	r, err := f.in.Get(ctx, floorKey)
	if errors.Is(err, store.ErrNone) {
		return m, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &m)
	}
	return m, r.Version, err
}

// Raise remembers a mark, or refuses one that another node has overtaken.
func (f floor) Raise(ctx context.Context, m source.Mark) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	for {
		highest, version, err := f.read(ctx)
		if err != nil || highest == m {
			return err
		}
		if highest.Version >= m.Version {
			return fmt.Errorf("%w: another node has accepted version %d; sign it anew with version %d", source.ErrReplayed, highest.Version, highest.Version+1)
		}
		if _, err = f.in.Write(ctx, store.Write{Key: floorKey, Value: data, Version: version}); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
