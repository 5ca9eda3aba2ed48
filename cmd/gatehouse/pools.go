package main

import (
	"fmt"
	"strings"
	"sync"

	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// pools keeps the pools of servers over reloads. A pool is found by what made it, so that a document that changes
// something else opens no connection, loses no breaker's state and resets no counter.
type pools struct {
	deps upstream.Deps

	mu   sync.Mutex
	made map[string]*upstream.Pool
	used map[string]bool // by the document that is being built
}

func newPools(deps upstream.Deps) *pools {
	return &pools{deps: deps, made: map[string]*upstream.Pool{}, used: map[string]bool{}}
}

// begin starts to note which pools the next document uses.
func (p *pools) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = map[string]bool{}
}

// sender finds or makes the pool of an API.
func (p *pools) sender(api string, cfg upstream.Config, targets []string) (pipeline.Sender, error) {
	key := fmt.Sprintf("%s %+v %s", api, cfg, strings.Join(targets, " "))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[key] = true
	if pool, ok := p.made[key]; ok {
		return pool, nil
	}
	pool, err := upstream.New(cfg, targets, p.deps)
	if err != nil {
		return nil, err
	}
	p.made[key] = pool
	return pool, nil
}

// commit closes the pools that the document now in force does not use; requests in progress end first.
func (p *pools) commit() { p.closeAll(func(key string) bool { return !p.used[key] }) }

// abandon closes the pools that were made for a document that was refused.
func (p *pools) abandon(inForce map[string]bool) {
	p.closeAll(func(key string) bool { return p.used[key] && !inForce[key] })
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

func (p *pools) closeAll(which func(key string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, pool := range p.made {
		if which(key) {
			delete(p.made, key)
			go pool.Close()
		}
	}
}
