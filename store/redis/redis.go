// Package redis shares between nodes what they must know quickly and may forget: counters of rates, expiring records, and
// doorbells. It speaks to one Redis or Valkey server, to Sentinel, or to a Cluster, by TLS that is verified and as an ACL
// user. A Redis that is gone, slow or comes and goes neither blocks nor opens the gateway: each use says what it does then,
// and a circuit sees to it that nobody waits for a server that doesn't answer. Neither keys nor errors tell who called.
package redis

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

// Options say which server, and how its secrets are found.
type Options struct {
	Config store.SharedConfig
	// Resolve gives what a reference in Config refers to, anew for each connection. Nil: Ref.Resolve.
	Resolve func(secret.Ref) (secret.Value, error)
	// HashKey turns what identifies somebody into the name of a key. All nodes need the same; 16 bytes at least. Without one
	// the hash is fixed, and whoever reads the server's keys can find addresses by trying them all.
	HashKey []byte
	// Nodes is how many nodes share limits, as last known. Nil: the nodes that count through this server.
	Nodes func() int
	// Node is a name of this node that no other has. Empty: a random one.
	Node string
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: nothing is logged
}

// patience is how long Open waits for the first connection.
const patience = time.Second

// Client is a connection to the server, or the attempt to get one. Safe for use by many goroutines.
type Client struct {
	opts    Options
	names   names
	conn    atomic.Pointer[valkey.Client] // nil until the server has answered once
	first   atomic.Pointer[error]         // why there has been no connection yet
	records *circuit
	stopped context.Context
	stop    context.CancelFunc
}

// Open connects. A server that isn't there is no error: the client says so in its log and in State, tries on, and every use
// does what it does without a server. An error is a mistake in the options.
func Open(ctx context.Context, o Options) (*Client, error) {
	if o.Config.IsMemory() {
		return nil, errors.New("redis: no server is named; set store.shared.url")
	}
	if len(o.HashKey) > 0 && len(o.HashKey) < 16 {
		return nil, errors.New("redis: the hash key is shorter than 16 bytes")
	}
	o.Config = o.Config.Defaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Resolve == nil {
		o.Resolve = secret.Ref.Resolve
	}
	client, err := clientOptions(o)
	if err == nil {
		err = given(o)
	}
	if err != nil {
		return nil, err
	}
	c := &Client{opts: o, names: names{prefix: o.Config.Prefix, key: o.HashKey}}
	c.stopped, c.stop = context.WithCancel(context.Background())
	c.records = newCircuit(c.stopped, "records", o.Now, o.Log, c.ping)
	answered := make(chan struct{})
	go c.connect(client, answered)
	select {
	case <-answered:
	case <-time.After(patience):
		o.Log.Warn("redis does not answer; serving without it until it does", "cause", words(c.reason()))
	case <-ctx.Done():
	}
	return c, nil
}

// connect tries until there is a connection, which then renews itself, or the client is closed.
func (c *Client) connect(o valkey.ClientOption, answered chan<- struct{}) {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		conn, err := valkey.NewClient(o)
		if err == nil {
			c.conn.Store(&conn)
			close(answered)
			if c.stopped.Err() != nil { // Close came first and saw no connection
				conn.Close()
			}
			return
		}
		c.first.Store(&err)
		select {
		case <-c.stopped.Done():
			return
		case <-time.After(wait):
		}
	}
}

// use gives the connection.
func (c *Client) use() (valkey.Client, error) {
	if c.stopped.Err() != nil {
		return nil, errClosed
	}
	if conn := c.conn.Load(); conn != nil {
		return *conn, nil
	}
	return nil, c.reason()
}

// reason is why there is no connection yet.
func (c *Client) reason() error {
	if err := c.first.Load(); err != nil {
		return *err
	}
	return errNotYet
}

// Ping tells whether the server answers now.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Config.Timeouts.Call)
	defer cancel()
	if err := c.ping(ctx); err != nil {
		return c.failure("ping", err)
	}
	return nil
}

func (c *Client) ping(ctx context.Context) error {
	conn, err := c.use()
	if err != nil {
		return err
	}
	return conn.Do(ctx, conn.B().Ping().Build()).Error()
}

// State tells since when records and feeds have been without the server, and why; the zero time when they are not.
func (c *Client) State() (since time.Time, why error) {
	if c.conn.Load() == nil {
		return c.records.made, c.failure("connect", c.reason())
	}
	since, err := c.records.state()
	if since.IsZero() {
		return since, nil
	}
	return since, c.failure("connection", err)
}

// Close ends all connections and whatever waits for them.
func (c *Client) Close() {
	c.stop()
	if conn := c.conn.Load(); conn != nil {
		(*conn).Close()
	}
}
