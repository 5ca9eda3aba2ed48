package redis

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"
)

// beating is how often a node says that it counts here, and forgetting when one that doesn't is no longer counted.
const (
	beating    = time.Second
	forgetting = 10 * time.Second
)

// beat keeps the set of nodes. KEYS: the set. ARGV: this node, milliseconds after which others are forgotten. Answers how
// many there are.
const beat = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])`

// Counters share limits between nodes, by allowances: a node may spend some requests of each counter before it asks. Without the
// server each node counts its share of the limit, which neither blocks nor opens. What is shared is what Limiter gives; as
// plain counters, a throttled.GCRAStoreCtx, they are this node's own.
type Counters struct {
	single
	ledger  ledger
	ask     asking
	patient time.Duration // how long a request waits for the server before this node decides alone
	circuit *circuit
	known   func() int // nodes, or 0
	others  atomic.Int64
	client  *Client
	beat    *valkey.Lua
	node    string
	end     context.Context
}

// NewCounters makes room for about limit keys. The clock should be one that nobody sets.
func (c *Client) NewCounters(limit int, now func() time.Time) *Counters {
	n := newCounters(limit, now, c.asker(), c.stopped)
	n.client, n.beat, n.node, n.known = c, valkey.NewLuaScript(beat), c.opts.Node, c.opts.Nodes
	if n.node == "" {
		n.node = rand.Text()
	}
	n.circuit = newCircuit(c.stopped, "rates", c.opts.Now, c.opts.Log, n.probe)
	go n.keepBeating()
	go n.keepSettling()
	return n
}

func newCounters(limit int, now func() time.Time, ask asking, end context.Context) *Counters {
	return &Counters{single: single{table: newTable(limit, now)}, ledger: ledger{due: make(chan struct{}, 1)}, ask: ask, patient: patient, end: end}
}

// nodes is how many share the limits, as last known.
func (c *Counters) nodes() int {
	if c.known != nil {
		if n := c.known(); n > 0 {
			return n
		}
	}
	return max(1, int(c.others.Load()))
}

// Degraded tells since when this node has counted alone, and why; the zero time when it shares.
func (c *Counters) Degraded() (since time.Time, why error) {
	since, err := c.circuit.state()
	if since.IsZero() {
		return since, nil
	}
	return since, c.client.failure("count", err)
}

// keepBeating says regularly that this node is here, which also finds out that the server is away when nobody calls.
func (c *Counters) keepBeating() {
	for tick := time.NewTicker(beating); ; {
		if !c.circuit.open.Load() {
			ctx, cancel := context.WithTimeout(c.end, time.Second)
			if err := c.sayHere(ctx); err != nil && c.end.Err() == nil {
				c.circuit.failed(err)
			}
			cancel()
		}
		select {
		case <-c.end.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

func (c *Counters) sayHere(ctx context.Context) error {
	conn, err := c.client.use()
	if err != nil {
		return err
	}
	n, err := c.beat.Exec(ctx, conn, []string{c.client.names.nodes()}, []string{c.node, strconv.FormatInt(forgetting.Milliseconds(), 10)}).AsInt64()
	if err == nil {
		c.others.Store(n)
	}
	return err
}

// probe asks once with time to connect, and then whether the server is as fast as requests need it, one time of three.
func (c *Counters) probe(ctx context.Context) error {
	if err := c.sayHere(ctx); err != nil {
		return err
	}
	var err error
	for range 3 {
		fast, cancel := context.WithTimeout(ctx, c.patient)
		err = c.sayHere(fast)
		cancel()
		if err == nil {
			break
		}
	}
	return err
}
