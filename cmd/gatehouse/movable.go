package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/gatehouse-sec/gatehouse/store"
)

// movable is the durable store of a process that may be moved to another while it is used: everybody waits for the end
// of the move. Nothing that serves a request waits for the durable store.
type movable struct {
	mu    sync.RWMutex // held for writing by a move
	is    store.Durable
	moves int // marks of followers belong to one store
}

// move has do bring everything to another store while nobody writes, and takes that store from then on. The old one is
// closed by whoever asked.
func (m *movable) move(do func(from store.Durable) (store.Durable, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	to, err := do(m.is)
	if err != nil {
		return err
	}
	m.is = to
	m.moves++
	return nil
}

// now is the store in use, for what needs it as it is.
func (m *movable) now() store.Durable {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.is
}

func (m *movable) Get(ctx context.Context, key string) (store.Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.is.Get(ctx, key)
}

func (m *movable) Write(ctx context.Context, w store.Write) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.is.Write(ctx, w)
}

func (m *movable) WriteAll(ctx context.Context, all ...store.Write) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.is.WriteAll(ctx, all...)
}

func (m *movable) List(ctx context.Context, prefix, after string, limit int) ([]store.Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.is.List(ctx, prefix, after, limit)
}

// Since gives a follower whose mark is of the store before everything again.
func (m *movable) Since(ctx context.Context, prefix, mark string) ([]store.Record, string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	own := fmt.Sprintf("%d ", m.moves)
	mark, ok := strings.CutPrefix(mark, own)
	if !ok {
		mark = ""
	}
	changed, next, err := m.is.Since(ctx, prefix, mark)
	return changed, own + next, err
}

func (m *movable) Ping(ctx context.Context) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.is.Ping(ctx)
}

func (m *movable) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.is.Close()
}
