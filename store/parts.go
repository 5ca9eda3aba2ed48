package store

import (
	"context"

	"github.com/gatehouse-sec/gatehouse/kit/record"
)

// Parts is a durable store for parts that keep records of their own and know no store: secrets, patches, API keys, sessions.
type Parts struct{ In Durable }

// PartErrors are what it answers with.
var PartErrors = record.Errors{None: ErrNone, Conflict: ErrConflict, Invalid: ErrInvalid}

// Get is that of the store.
func (p Parts) Get(ctx context.Context, name string) (record.Record, error) {
	r, err := p.In.Get(ctx, name)
	return record.Record(r), err
}

// Write is that of the store.
func (p Parts) Write(ctx context.Context, w record.Write) (int64, error) {
	return p.In.Write(ctx, Write(w))
}

// WriteAll is that of the store.
func (p Parts) WriteAll(ctx context.Context, all ...record.Write) error {
	writes := make([]Write, len(all))
	for i, w := range all {
		writes[i] = Write(w)
	}
	return p.In.WriteAll(ctx, writes...)
}

// List is that of the store.
func (p Parts) List(ctx context.Context, prefix, after string, limit int) ([]record.Record, error) {
	list, err := p.In.List(ctx, prefix, after, limit)
	return partsOf(list), err
}

// Since is that of the store.
func (p Parts) Since(ctx context.Context, prefix, mark string) ([]record.Record, string, error) {
	list, next, err := p.In.Since(ctx, prefix, mark)
	return partsOf(list), next, err
}

func partsOf(list []Record) []record.Record {
	all := make([]record.Record, len(list))
	for i, r := range list {
		all[i] = record.Record(r)
	}
	return all
}
