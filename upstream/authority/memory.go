package authority

import (
	"context"
	"sync"
)

// InMemory is a Place that remembers nothing over restarts: for commands that look at a document and open no store. What an
// authority there vouches for is trusted by no server.
func InMemory() Place { return &inMemory{} }

type inMemory struct {
	mu      sync.Mutex
	value   []byte
	version int64
}

func (p *inMemory) Get(context.Context) ([]byte, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.version == 0 {
		return nil, 0, ErrNone
	}
	return p.value, p.version, nil
}

func (p *inMemory) Put(_ context.Context, value []byte, version int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version != p.version {
		return ErrConflict
	}
	p.value, p.version = value, version+1
	return nil
}
