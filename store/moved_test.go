package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Row K8: Redis and the durable store have one key. Whoever writes to both puts a value of the one into the other, under the
// same key, version and end.
func TestK8WhatNodesShareIsNoDurableRecord(t *testing.T) {
	ctx, g, server, database := context.Background(), &gcm{}, scratch(t), scratch(t)
	shared, durable := store.SealedRecords(server, g, "store"), store.Sealed(database, g, "store")
	set(t, shared, "session/1", "from the server", time.Time{})
	set(t, durable, "secret/1", "from the database", time.Time{})
	move := func(from, to store.Durable, key string) {
		r, err := from.Get(ctx, key)
		must(t, err)
		_, err = to.Write(ctx, store.Write{Key: key, Value: r.Value})
		must(t, err)
	}
	move(server, database, "session/1")
	move(database, server, "secret/1")
	if r, err := durable.Get(ctx, "session/1"); !errors.Is(err, store.ErrSealed) {
		t.Errorf("what nodes share was taken for a durable record: %q %v", r.Value, err)
	}
	if r, err := shared.Get(ctx, "secret/1"); !errors.Is(err, store.ErrSealed) {
		t.Errorf("a durable record was taken for what nodes share: %q %v", r.Value, err)
	}
}
