package store

import (
	"context"
	"fmt"
	"slices"
)

// Hiding gives a store without one of its records, for what must not be read, copied or sealed like the others: the
// keyring, which opens all of them. Nobody can make a record of that name through it.
func Hiding(d Durable, key string) Durable { return &hiding{d, key} }

type hiding struct {
	Durable
	key string
}

func (h *hiding) refuse(all ...Write) error {
	if slices.ContainsFunc(all, func(w Write) bool { return w.Key == h.key }) {
		return fmt.Errorf("store: the record %q is not for everybody", h.key)
	}
	return nil
}

func (h *hiding) Get(ctx context.Context, key string) (Record, error) {
	if key == h.key {
		return Record{}, ErrNone
	}
	return h.Durable.Get(ctx, key)
}

func (h *hiding) Write(ctx context.Context, w Write) (int64, error) {
	if err := h.refuse(w); err != nil {
		return 0, err
	}
	return h.Durable.Write(ctx, w)
}

func (h *hiding) WriteAll(ctx context.Context, all ...Write) error {
	if err := h.refuse(all...); err != nil {
		return err
	}
	return h.Durable.WriteAll(ctx, all...)
}

func (h *hiding) List(ctx context.Context, prefix, after string, limit int) ([]Record, error) {
	list, err := h.Durable.List(ctx, prefix, after, limit)
	if err != nil || len(list) == 0 {
		return list, err
	}
	full, last := len(list) == limit, list[len(list)-1].Key
	seen := h.without(list)
	if len(seen) == limit || !full {
		return seen, nil
	}
	more, err := h.Durable.List(ctx, prefix, last, 1) // whoever asks takes a list that isn't full for the last
	return append(seen, more...), err
}

func (h *hiding) Since(ctx context.Context, prefix, mark string) ([]Record, string, error) {
	list, next, err := h.Durable.Since(ctx, prefix, mark)
	return h.without(list), next, err
}

func (h *hiding) without(list []Record) []Record {
	return slices.DeleteFunc(list, func(r Record) bool { return r.Key == h.key })
}
