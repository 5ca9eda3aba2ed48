package key

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/gatehouse-sec/gatehouse/secret"
)

const kindShares = "shares"

// sharesRoot divides its key among people by Shamir's scheme over the scalars of ristretto255. The envelope keeps a hash of
// each share, which tells a right one from a wrong one and nothing more (a share has 252 random bits): a wrong share is never
// counted, and can neither spoil nor cancel what others gave (rows K10, I18).
type sharesRoot struct {
	cfg       Shares
	resolve   func(secret.Ref) (secret.Value, error)
	collector *Collector
	random    io.Reader
	handout   Handout
}

// Describe says what it is.
func (s *sharesRoot) Describe() Description {
	return Description{Kind: kindShares, Where: fmt.Sprintf("%d of %d shares", s.cfg.Threshold, s.cfg.Of)}
}

// Wrap makes a new key and divides it.
func (s *sharesRoot) Wrap(_ context.Context, plain, aad []byte) (Envelope, error) {
	id := make([]byte, 4)
	if _, err := io.ReadFull(s.random, id); err != nil {
		return Envelope{}, fmt.Errorf("read randomness for shares: %w", err)
	}
	whole := group.Ristretto255.RandomNonZeroScalar(s.random)
	kek, err := scalarKey(whole)
	if err != nil {
		return Envelope{}, err
	}
	defer kek.wipe()
	set := hex.EncodeToString(id)
	e := Envelope{Kind: kindShares, Parameters: map[string]string{"set": set, "threshold": strconv.Itoa(s.cfg.Threshold), "of": strconv.Itoa(s.cfg.Of)}}
	s.handout = Handout{Threshold: s.cfg.Threshold}
	split := secretsharing.New(s.random, uint(s.cfg.Threshold-1), whole)
	for i, made := range split.Share(uint(s.cfg.Of)) {
		value, err := made.Value.MarshalBinary()
		if err != nil {
			return Envelope{}, err
		}
		one := share{set: set, index: i + 1, value: value}
		e.Parameters[one.name()] = hex.EncodeToString(one.hash())
		v, err := secret.New([]byte(one.text()), "share")
		if err != nil {
			return Envelope{}, err
		}
		s.handout.Shares = append(s.handout.Shares, v)
	}
	return wrapWith(s.random, kek, e, plain, aad)
}

// Unwrap takes the shares that lie in files and waits for the others to be given.
func (s *sharesRoot) Unwrap(ctx context.Context, e Envelope, aad []byte) ([]byte, error) {
	if err := expect(e, kindShares); err != nil {
		return nil, err
	}
	collector := s.collector
	if collector == nil {
		collector = NewCollector(time.Now, nil)
	}
	done, err := collector.begin(e)
	if err != nil {
		return nil, err
	}
	defer collector.end()
	for _, ref := range s.cfg.Files {
		if v, err := s.resolve(ref); err == nil {
			_, _ = collector.Give(ref.String(), v) // a share that is not right is as good as none, and is reported
		}
	}
	if s.collector == nil {
		if p := collector.Progress(); p.Missing > 0 {
			return nil, fmt.Errorf("%w: %d of %d are missing; name files with them (key.root.shares.files), or give them with: gatehouse key share", ErrWaiting, p.Missing, p.Needed)
		}
	}
	select {
	case <-done:
	case <-ctx.Done():
		p := collector.Progress()
		return nil, fmt.Errorf("%w: %d of %d are missing: %w", ErrWaiting, p.Missing, p.Needed, ctx.Err())
	}
	kek, err := collector.combine()
	if err != nil {
		return nil, err
	}
	defer kek.wipe()
	return unwrapWith(kek, e, aad)
}

// Handout gives the shares, once.
func (s *sharesRoot) Handout() Handout {
	h := s.handout
	s.handout = Handout{}
	return h
}

// Settle has nothing to do: the shares are with people.
func (s *sharesRoot) Settle(bool) error { return nil }

// scalarKey makes the key from the number that is shared.
func scalarKey(whole group.Scalar) (material, error) {
	data, err := whole.MarshalBinary()
	if err != nil {
		return material{}, err
	}
	m, err := take(data)
	if err != nil {
		return material{}, err
	}
	defer m.wipe()
	return take(m.derive("shares", ""))
}

// share is what one person holds. It is written as ghs1-SET-INDEX-VALUE-CHECK: hexadecimal digits, of which people may write
// large ones and put spaces between them.
type share struct {
	set   string // 8 digits that all shares of a key have
	index int    // from 1
	value []byte // 32
}

func (s share) name() string { return fmt.Sprintf("share_%d", s.index) }

func (s share) text() string {
	body := fmt.Sprintf("ghs1-%s-%d-%x", s.set, s.index, s.value)
	sum := sha256.Sum256([]byte(body))
	return fmt.Sprintf("%s-%x", body, sum[:4])
}

// hash recognises a share in the envelope.
func (s share) hash() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "gatehouse share\x00%s\x00%d\x00%s", s.set, s.index, s.value))
	return sum[:]
}

// errShare says as little of every share that is none.
var errShare = errors.New("it is no share of this root key")

// parseShare reads the written form.
func parseShare(text []byte) (share, error) {
	if len(text) > 512 {
		return share{}, errShare
	}
	fields := strings.Split(strings.ToLower(strings.Join(strings.Fields(string(text)), "")), "-")
	if len(fields) != 5 || fields[0] != "ghs1" || len(fields[1]) != 8 {
		return share{}, errShare
	}
	index, err := strconv.Atoi(fields[2])
	if err != nil || index < 1 || index > maxShares {
		return share{}, errShare
	}
	value, err := hex.DecodeString(fields[3])
	if err != nil || len(value) != size {
		return share{}, errShare
	}
	s := share{set: fields[1], index: index, value: value}
	if subtle.ConstantTimeCompare([]byte(s.text()), []byte(strings.Join(fields, "-"))) == 0 {
		return share{}, errShare
	}
	return s, nil
}

// scalar is the share as the scheme takes it.
func (s share) scalar() (secretsharing.Share, error) {
	id, value := group.Ristretto255.NewScalar(), group.Ristretto255.NewScalar()
	if err := value.UnmarshalBinary(s.value); err != nil {
		return secretsharing.Share{}, errShare
	}
	return secretsharing.Share{ID: id.SetUint64(uint64(s.index)), Value: value}, nil
}
