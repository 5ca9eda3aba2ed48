package key

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Collector is where people give their shares while a start waits for them. Whoever gives a wrong one must wait before the
// next, longer each time; others need not. Make it before Open, and let the control socket hand shares to Give.
type Collector struct {
	now    func() time.Time
	report func(Attempt)

	mu     sync.Mutex
	wanted *wanted           // nil: nobody waits
	slow   map[string]slowed // by giver
}

// wanted is what one waiting start needs.
type wanted struct {
	set       string
	threshold int
	hashes    [][]byte // by index, from 0
	have      map[int]share
	done      chan struct{}
}

// slowed is a giver who was wrong.
type slowed struct {
	wrong int
	until time.Time
}

// Attempt is one share that somebody gave, for the log of events. It does not hold the share.
type Attempt struct {
	From     string    `json:"from"`
	At       time.Time `json:"at"`
	Accepted bool      `json:"accepted"`
	TooSoon  bool      `json:"too_soon,omitempty"` // not even looked at: the giver was wrong before and did not wait
	Missing  int       `json:"missing"`
}

// Progress tells how far a start is.
type Progress struct {
	Waiting bool `json:"waiting"` // a start waits for shares
	Needed  int  `json:"needed"`
	Missing int  `json:"missing"`
}

// What Give answers.
var (
	// ErrRefused: the share is not one of those that are waited for. It is never told why.
	ErrRefused = errors.New("the share was not accepted")
	// ErrTooSoon: whoever gave a wrong share waits before the next.
	ErrTooSoon = errors.New("the last share was wrong: wait before the next")
)

// Waits after wrong shares: 200 ms, doubled each time up to 30 s. So many givers are remembered one by one.
const (
	firstWait  = 200 * time.Millisecond
	longWait   = 30 * time.Second
	maxDoubles = 8
	maxGivers  = 1024
)

// NewCollector makes one. Report, which may be nil, hears of every attempt.
func NewCollector(now func() time.Time, report func(Attempt)) *Collector {
	if report == nil {
		report = func(Attempt) {}
	}
	return &Collector{now: now, report: report, slow: map[string]slowed{}}
}

// Give takes a share from a giver: a file's name, or the user at the control socket. The same share twice counts once.
func (c *Collector) Give(from string, text secret.Value) (Progress, error) {
	attempt, progress, err := c.give(from, text)
	c.report(attempt)
	return progress, err
}

func (c *Collector) give(from string, text secret.Value) (Attempt, Progress, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	attempt := Attempt{From: from, At: c.now()}
	if c.wanted == nil {
		return attempt, Progress{}, fmt.Errorf("%w: nobody waits for shares", ErrRefused)
	}
	giver := from
	if _, known := c.slow[giver]; !known && len(c.slow) >= maxGivers {
		giver = "" // too many givers: the rest share one wait
	}
	s := c.slow[giver]
	if attempt.At.Before(s.until) {
		attempt.TooSoon, attempt.Missing = true, c.progress().Missing
		return attempt, c.progress(), fmt.Errorf("%w: %s", ErrTooSoon, s.until.Sub(attempt.At).Round(time.Millisecond))
	}
	attempt.Accepted = !text.IsZero() && c.wanted.accept(text.Reveal())
	attempt.Missing = c.progress().Missing
	if attempt.Accepted {
		delete(c.slow, giver)
		return attempt, c.progress(), nil
	}
	c.slow[giver] = slowed{s.wrong + 1, attempt.At.Add(min(firstWait<<min(s.wrong, maxDoubles), longWait))}
	return attempt, c.progress(), fmt.Errorf("%w: %d of %d are missing", ErrRefused, attempt.Missing, c.wanted.threshold)
}

// accept compares with all that are wanted, in the same time whichever it is or is not.
func (w *wanted) accept(text []byte) bool {
	given, err := parseShare(text)
	hash, right := given.hash(), 0
	for i, h := range w.hashes {
		same := subtle.ConstantTimeCompare(hash, h) & subtle.ConstantTimeEq(int32(given.index), int32(i+1))
		right |= same
	}
	if err != nil || right == 0 || given.set != w.set {
		return false
	}
	if _, err := given.scalar(); err != nil {
		return false
	}
	if len(w.have) < w.threshold {
		w.have[given.index] = given
		if len(w.have) == w.threshold {
			close(w.done)
		}
	}
	return true
}

// Progress tells how many shares are missing.
func (c *Collector) Progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.progress()
}

func (c *Collector) progress() Progress {
	if c.wanted == nil {
		return Progress{}
	}
	return Progress{Waiting: true, Needed: c.wanted.threshold, Missing: c.wanted.threshold - len(c.wanted.have)}
}

// begin waits for the shares of an envelope.
func (c *Collector) begin(e Envelope) (<-chan struct{}, error) {
	threshold, bad := strconv.Atoi(e.Parameters["threshold"])
	of, bad2 := strconv.Atoi(e.Parameters["of"])
	if bad != nil || bad2 != nil || threshold < 2 || of < threshold || of > maxShares {
		return nil, fmt.Errorf("%w: its numbers of shares are not right", ErrDamaged)
	}
	w := &wanted{set: e.Parameters["set"], threshold: threshold, have: map[int]share{}, done: make(chan struct{})}
	for i := range of {
		hash, err := hex.DecodeString(e.Parameters[share{index: i + 1}.name()])
		if err != nil || len(hash) != size {
			return nil, fmt.Errorf("%w: it does not know its shares", ErrDamaged)
		}
		w.hashes = append(w.hashes, hash)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted != nil {
		return nil, errors.New("another start already waits for shares here")
	}
	c.wanted = w
	return w.done, nil
}

// end forgets the shares.
func (c *Collector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.wanted.have {
		clear(s.value)
	}
	c.wanted = nil
}

// combine makes the key of the shares.
func (c *Collector) combine() (material, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []secretsharing.Share
	for _, s := range c.wanted.have {
		one, err := s.scalar()
		if err != nil {
			return material{}, err
		}
		list = append(list, one)
	}
	whole, err := secretsharing.Recover(uint(c.wanted.threshold-1), list)
	if err != nil {
		return material{}, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	defer whole.Set(group.Ristretto255.NewScalar())
	return scalarKey(whole)
}
