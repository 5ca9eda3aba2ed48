package redis

import (
	"context"
	"time"

	"github.com/valkey-io/valkey-go"
)

// kept and most are how long a stream keeps messages, in milliseconds, and how many about.
const (
	kept = "60000"
	most = "10000"
)

// ring adds a message to a stream, and drops what is older than a minute by the server's clock. KEYS: the stream. ARGV: the
// message, milliseconds kept, most messages.
const ring = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('XADD', KEYS[1], 'MINID', '~', string.format('%.0f', now - ARGV[2]), '*', 'm', ARGV[1])
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
return 1`

// Feed is a store.Feed over streams, each read on a connection of its own. When the server is away Read gives an error:
// the caller pauses and reads on from its position. A failover may lose messages, or give a reader some twice.
type Feed struct {
	client *Client
	ring   *valkey.Lua
}

// Feed gives the feed of the server.
func (c *Client) Feed() *Feed { return &Feed{client: c, ring: valkey.NewLuaScript(ring)} }

// Publish adds a message to a topic.
func (f *Feed) Publish(ctx context.Context, topic string, message []byte) error {
	text := string(message)
	return f.client.call(ctx, "publish", func(ctx context.Context, conn valkey.Client) error {
		return f.ring.Exec(ctx, conn, []string{f.client.names.topic(topic)}, []string{text, kept, most}).Error()
	})
}

// nap is how long one question waits at the server for a message; a server that doesn't answer for much longer is away.
const nap = time.Second

// Read waits for messages after a position, "" from now on.
func (f *Feed) Read(ctx context.Context, topic, after string) ([][]byte, string, error) {
	key := f.client.names.topic(topic)
	at := after
	if at == "" {
		var err error
		if at, err = f.last(ctx, key); err != nil {
			return nil, "", err
		}
	}
	for {
		messages, next, err := f.wait(ctx, key, at)
		if err != nil || len(messages) > 0 {
			return messages, next, err
		}
	}
}

// last is the position of the newest message, or the one before all.
func (f *Feed) last(ctx context.Context, key string) (at string, err error) {
	at = "0-0"
	err = f.client.call(ctx, "read feed", func(ctx context.Context, conn valkey.Client) error {
		entries, err := conn.Do(ctx, conn.B().Xrevrange().Key(key).End("+").Start("-").Count(1).Build()).AsXRange()
		if len(entries) > 0 {
			at = entries[0].ID
		}
		return err
	})
	return at, err
}

// wait asks once. The question ends with ctx: its goroutine and connection at most a nap later.
func (f *Feed) wait(ctx context.Context, key, at string) ([][]byte, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, at, f.client.failure("read feed", err)
	}
	conn, err := f.client.use()
	if err != nil {
		return nil, at, f.client.failure("read feed", err)
	}
	type answer struct {
		streams map[string][]valkey.XRangeEntry
		err     error
	}
	got := make(chan answer, 1)
	go func() {
		bounded, cancel := context.WithTimeout(f.client.stopped, nap+f.client.opts.Config.Timeouts.Call)
		defer cancel()
		streams, err := conn.Do(bounded, conn.B().Xread().Count(256).Block(nap.Milliseconds()).Streams().Key(key).Id(at).Build()).AsXRead()
		got <- answer{streams, err}
	}()
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		return nil, at, f.client.failure("read feed", ctx.Err())
	}
	if valkey.IsValkeyNil(a.err) {
		return nil, at, nil
	}
	if a.err != nil {
		return nil, at, f.client.failure("read feed", a.err)
	}
	var messages [][]byte
	for _, e := range a.streams[key] {
		messages, at = append(messages, []byte(e.FieldValues["m"])), e.ID
	}
	return messages, at, nil
}
