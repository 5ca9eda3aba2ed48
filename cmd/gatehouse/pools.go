package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"sync"

	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// pools keeps the pools of servers over reloads. A pool is found by what made it, so that a document that changes
// something else opens no connection, loses no breaker's state and resets no counter.
type pools struct {
	deps    upstream.Deps
	resolve func(reader string) func(secret.Ref) (secret.Value, error)

	mu   sync.Mutex
	made map[string]made
	used map[string]bool // by the document that is being built
}

// made is a pool and the API it was made for.
type made struct {
	api  string
	pool *upstream.Pool
}

func newPools(deps upstream.Deps, resolve func(reader string) func(secret.Ref) (secret.Value, error)) *pools {
	return &pools{deps: deps, resolve: resolve, made: map[string]made{}, used: map[string]bool{}}
}

// begin starts to note which pools the next document uses.
func (p *pools) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = map[string]bool{}
}

// sender finds or makes the pool of an API. The authority's certificates are part of what makes it, not only their file.
func (p *pools) sender(api string, cfg upstream.Config, targets []string) (pipeline.Sender, error) {
	var authority [sha256.Size]byte
	if cfg.TLS.CA != "" {
		pem, _ := os.ReadFile(cfg.TLS.CA) // a file that cannot be read is the pool's mistake to tell
		authority = sha256.Sum256(pem)
	}
	key := fmt.Sprintf("%q %+v %x %q", api, cfg, authority, targets)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[key] = true
	if m, ok := p.made[key]; ok {
		return m.pool, nil
	}
	deps := p.deps
	deps.Resolve = p.resolve("apis." + api)
	pool, err := upstream.New(cfg, targets, deps)
	if err != nil {
		return nil, err
	}
	p.made[key] = made{api, pool}
	return pool, nil
}

// commit closes the pools that the document now in force does not use; requests in progress end first.
func (p *pools) commit() { p.closeAll(func(key string) bool { return !p.used[key] }) }

// abandon closes the pools that were made for a document that was refused.
func (p *pools) abandon(inForce map[string]bool) {
	p.closeAll(func(key string) bool { return !inForce[key] })
}

// keys are the pools there are.
func (p *pools) keys() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make(map[string]bool, len(p.made))
	for k := range p.made {
		keys[k] = true
	}
	return keys
}

// each calls with for every pool.
func (p *pools) each(with func(api string, pool *upstream.Pool)) {
	p.mu.Lock()
	all := make([]made, 0, len(p.made))
	for _, m := range p.made {
		all = append(all, m)
	}
	p.mu.Unlock()
	for _, m := range all {
		with(m.api, m.pool)
	}
}

func (p *pools) closeAll(which func(key string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, m := range p.made {
		if which(key) {
			delete(p.made, key)
			go m.pool.Close()
		}
	}
}
