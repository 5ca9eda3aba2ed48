package key

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/gatehouse-sec/gatehouse/secret"
	"golang.org/x/crypto/argon2"
)

const kindPassphrase = "passphrase"

// passphraseRoot makes its key from a passphrase by Argon2id (RFC 9106). Salt and costs stand in the envelope.
type passphraseRoot struct {
	from    secret.Ref
	costs   costs
	resolve func(secret.Ref) (secret.Value, error)
	random  io.Reader
}

// costs of one guess.
type costs struct {
	time    uint32 // passes
	memory  uint32 // KiB
	threads uint8
}

// Describe says what it is.
func (p *passphraseRoot) Describe() Description {
	return Description{Kind: kindPassphrase, Where: p.from.String(), File: p.from.Path()}
}

// Wrap encrypts by the passphrase with a new salt.
func (p *passphraseRoot) Wrap(_ context.Context, plain, aad []byte) (Envelope, error) {
	salt := make([]byte, 16)
	if _, err := io.ReadFull(p.random, salt); err != nil {
		return Envelope{}, fmt.Errorf("read randomness for a salt: %w", err)
	}
	kek, err := p.key(p.costs, salt)
	if err != nil {
		return Envelope{}, err
	}
	defer kek.wipe()
	e := Envelope{Kind: kindPassphrase, Parameters: map[string]string{
		"kdf": "argon2id", "salt": hex.EncodeToString(salt), "time": fmt.Sprint(p.costs.time),
		"memory_kib": fmt.Sprint(p.costs.memory), "threads": fmt.Sprint(p.costs.threads)}}
	return wrapWith(p.random, kek, e, plain, aad)
}

// Unwrap opens with the passphrase and what the envelope says.
func (p *passphraseRoot) Unwrap(_ context.Context, e Envelope, aad []byte) ([]byte, error) {
	if err := expect(e, kindPassphrase); err != nil {
		return nil, err
	}
	c, salt, err := readCosts(e.Parameters)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	kek, err := p.key(c, salt)
	if err != nil {
		return nil, err
	}
	defer kek.wipe()
	if !bytes.Equal(kek.check(), e.Check) {
		return nil, fmt.Errorf("%w: %s holds another passphrase; put the right one there", ErrWrong, p.from)
	}
	return unwrapWith(kek, e, aad)
}

func (p *passphraseRoot) key(c costs, salt []byte) (material, error) {
	phrase, err := p.resolve(p.from)
	if err != nil {
		kind := ErrWrong
		if errors.Is(err, fs.ErrNotExist) {
			kind = ErrLost
		}
		return material{}, fmt.Errorf("%w: the passphrase is not to be had: %w", kind, err)
	}
	if n := len(phrase.Reveal()); n < minPassphrase {
		return material{}, fmt.Errorf("the passphrase in %s has %d characters; %d are the least, six random words are better", p.from, n, minPassphrase)
	}
	return take(argon2.IDKey(phrase.Reveal(), salt, c.time, c.memory, c.threads, size))
}

const minPassphrase = 12

// readCosts reads what Wrap wrote, within bounds that no document of ours exceeds, so that a keyring cannot ask for all memory.
func readCosts(parameters map[string]string) (costs, []byte, error) {
	number := func(name string, least, most uint64) uint64 {
		n, err := strconv.ParseUint(parameters[name], 10, 32)
		if err != nil || n < least || n > most {
			return 0
		}
		return n
	}
	salt, err := hex.DecodeString(parameters["salt"])
	c := costs{uint32(number("time", 1, maxTime)), uint32(number("memory_kib", minMemory, maxMemory)), uint8(number("threads", 1, 64))}
	if err != nil || len(salt) != 16 || parameters["kdf"] != "argon2id" || c.time == 0 || c.memory == 0 || c.threads == 0 {
		return costs{}, nil, errors.New("the parameters of the passphrase are not those of Gatehouse")
	}
	return c, salt, nil
}

// Bounds of the costs; the least is what OWASP recommends for Argon2id, in KiB.
const (
	minMemory = 19 << 10
	maxMemory = 4 << 20
	maxTime   = 64
)
