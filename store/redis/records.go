package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/gatehouse-sec/gatehouse/store"
)

// A record is one hash: v its version, d its value, e when it ends in milliseconds of the nodes' clock, or nothing. The
// server removes it after the time that is left, so that its own clock doesn't matter. One key for a record: a Cluster
// needs no more.

// change is the compare-and-swap. KEYS: the record. ARGV: the version that is replaced, now, whether it is removed, the
// value, when it ends. Answers the new version, or -1 when another version is there.
const change = `
local is = redis.call('HMGET', KEYS[1], 'v', 'e')
local now, version = tonumber(ARGV[2]), 0
if is[1] and (is[2] == '' or tonumber(is[2]) > now) then version = tonumber(is[1]) end
local want = tonumber(ARGV[1])
if want ~= -1 and want ~= version then return -1 end
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[1])
  return 0
end
local left = ARGV[5] ~= '' and tonumber(ARGV[5]) - now
if left and left <= 0 then
  redis.call('DEL', KEYS[1])
  return version + 1
end
redis.call('HSET', KEYS[1], 'v', string.format('%.0f', version + 1), 'd', ARGV[4], 'e', ARGV[5])
if left then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left)) else redis.call('PERSIST', KEYS[1]) end
return version + 1`

// Records is a store.Records. A server that doesn't answer is store.ErrUnavailable within the call timeout of the
// configuration, and at once while it is known to be away. A failover may lose the writes of its last moments.
type Records struct {
	client *Client
	change *valkey.Lua
}

// Records gives the records of the server.
func (c *Client) Records() *Records {
	return &Records{client: c, change: valkey.NewLuaScript(change)}
}

// Get gives a record that is there, or store.ErrNone.
func (r *Records) Get(ctx context.Context, key string) (store.Record, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	var answer []valkey.ValkeyMessage
	err := r.client.call(ctx, "read", func(ctx context.Context, conn valkey.Client) (err error) {
		answer, err = conn.Do(ctx, conn.B().Hmget().Key(r.client.names.record(key)).Field("v", "d", "e").Build()).ToArray()
		return err
	})
	if err != nil {
		return store.Record{}, err
	}
	return r.record(key, answer)
}

func (r *Records) record(key string, answer []valkey.ValkeyMessage) (store.Record, error) {
	if len(answer) != 3 || answer[0].IsNil() {
		return store.Record{}, store.ErrNone
	}
	version, err1 := answer[0].AsInt64()
	value, err2 := answer[1].ToString()
	ends, err3 := answer[2].ToString()
	if err := errors.Join(err1, err2, err3); err != nil {
		return store.Record{}, r.client.failure("read", ours{errors.New("what lies there is no record of ours")})
	}
	record := store.Record{Key: key, Value: []byte(value), Version: version}
	if ends != "" {
		at, err := strconv.ParseInt(ends, 10, 64)
		if err != nil || r.client.opts.Now().UnixMilli() >= at {
			return store.Record{}, store.ErrNone
		}
		record.Expires = time.UnixMilli(at)
	}
	return record, nil
}

// Write changes one record if it has the version that w names.
func (r *Records) Write(ctx context.Context, w store.Write) (int64, error) {
	if err := store.CheckWrites(w); err != nil {
		return 0, err
	}
	removed, ends := "0", ""
	if w.Value == nil {
		removed = "1"
	}
	if !w.Expires.IsZero() {
		ends = strconv.FormatInt(w.Expires.UnixMilli(), 10)
	}
	args := []string{strconv.FormatInt(w.Version, 10), strconv.FormatInt(r.client.opts.Now().UnixMilli(), 10), removed, string(w.Value), ends}
	var version int64
	err := r.client.call(ctx, "write", func(ctx context.Context, conn valkey.Client) (err error) {
		version, err = r.change.Exec(ctx, conn, []string{r.client.names.record(w.Key)}, args).AsInt64()
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case version < 0:
		return 0, store.ErrConflict
	}
	return version, nil
}

// call does something with the server in bounded time, or not at all while the server is away.
func (c *Client) call(ctx context.Context, doing string, do func(context.Context, valkey.Client) error) error {
	if err := ctx.Err(); err != nil {
		return c.failure(doing, err)
	}
	if c.records.open.Load() {
		return c.failure(doing, errAway)
	}
	conn, err := c.use()
	if err != nil {
		return c.failure(doing, err)
	}
	bounded, cancel := context.WithTimeout(ctx, c.opts.Config.Timeouts.Call)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- do(bounded, conn) }()
	select {
	case err = <-finished:
	case <-bounded.Done():
		err = bounded.Err()
	}
	if _, answered := valkey.IsValkeyErr(err); err == nil || !answered && ctx.Err() == nil {
		c.records.told(err)
	}
	if err == nil {
		return nil
	}
	return c.failure(doing, err)
}
