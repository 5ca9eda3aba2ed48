package kept_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gatehouse-sec/gatehouse/secret/kept"
	"github.com/gatehouse-sec/gatehouse/store"
)

// durable is the whole adapter that a durable store needs: records convert as they are.
type durable struct{ store.Durable }

func (d durable) Get(ctx context.Context, key string) (kept.Record, error) {
	r, err := d.Durable.Get(ctx, key)
	return kept.Record(r), err
}

func (d durable) WriteAll(ctx context.Context, all ...kept.Write) error {
	writes := make([]store.Write, len(all))
	for i, w := range all {
		writes[i] = store.Write(w)
	}
	return d.Durable.WriteAll(ctx, writes...)
}

func (d durable) List(ctx context.Context, prefix, after string, limit int) ([]kept.Record, error) {
	list, err := d.Durable.List(ctx, prefix, after, limit)
	records := make([]kept.Record, len(list))
	for i, r := range list {
		records[i] = kept.Record(r)
	}
	return records, err
}

// down is a durable store that can't be reached.
type down struct{ store.Durable }

func (down) Get(context.Context, string) (store.Record, error) {
	return store.Record{}, store.ErrUnavailable
}
func (down) WriteAll(context.Context, ...store.Write) error { return store.ErrUnavailable }
func (down) List(context.Context, string, string, int) ([]store.Record, error) {
	return nil, store.ErrUnavailable
}

func TestOverTheDurableStore(t *testing.T) {
	if kept.Any != store.Any || len(headAndValue) > store.MaxKey || kept.MaxValue > store.MaxValue {
		t.Error("the bounds differ")
	}
	s := kept.New(durable{down{}}, kept.Errors{None: store.ErrNone, Conflict: store.ErrConflict}, kept.Options{})
	if _, err := s.Set(t.Context(), "a", []byte(canary), 0, "ann"); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := s.List(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}

// headAndValue is the longest key: prefix, a name of greatest length, a version.
var headAndValue = "secret/" + string(make([]byte, 180)) + "/000000001"
