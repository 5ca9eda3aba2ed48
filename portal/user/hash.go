package user

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/alexedwards/argon2id"
)

// Cost is what one hash takes.
type Cost struct {
	Memory uint32 // KiB
	Passes uint32
}

// FullCost is what a password is hashed with (RFC 9106, the second recommended option, on one thread).
var FullCost = Cost{Memory: 64 << 10, Passes: 3}

// turn is how long somebody who signs in waits until a hash can begin.
const turn = 2 * time.Second

// hasher hashes passwords, few at a time: a flood of logins takes a bounded share of memory and processors from everybody else.
type hasher struct {
	params *argon2id.Params
	turns  chan struct{}
	none   string // of nobody's password
}

func newHasher(c Cost) (*hasher, error) {
	h := &hasher{
		params: &argon2id.Params{Memory: c.Memory, Iterations: c.Passes, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		turns:  make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
	}
	var err error
	h.none, err = argon2id.CreateHash("nobody's password", h.params)
	return h, err
}

func (h *hasher) take(ctx context.Context) (done func(), err error) {
	t := time.NewTimer(turn)
	defer t.Stop()
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns }, nil
	case <-t.C:
		return nil, ErrBusy
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

// hash makes the hash of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	done, err := h.take(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return argon2id.CreateHash(password, h.params)
}

// fits compares a password with a hash. Without one it takes as long, and is false. Old tells that the hash was made at
// another cost.
func (h *hasher) fits(ctx context.Context, password, hash string) (fits, old bool, err error) {
	done, err := h.take(ctx)
	if err != nil {
		return false, false, err
	}
	defer done()
	there := hash != ""
	if !there {
		hash = h.none
	}
	same, params, err := argon2id.CheckHash(password, hash)
	if err != nil {
		return false, false, err
	}
	return same && there, params.Memory != h.params.Memory || params.Iterations != h.params.Iterations, nil
}
