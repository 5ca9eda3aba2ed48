// Package factor is the second factors of users who sign in at the portal, whoever vouches for their first one: codes of an
// authenticator app (TOTP, RFC 6238) and recovery codes. It promises that a code counts once, that guessing has five tries in
// five minutes and never locks, that what is kept of a recovery code is a digest, and that nobody gets a first factor by having
// stolen a password: to enrol one takes a permit, which a fresh invitation or an operator gives, or another factor. What it stops
// stands in the adversary rows E20 and E21.
package factor

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"github.com/throttled/throttled/v2"

	"github.com/gatehouse-sec/gatehouse/kit/record"
)

// Records is the part of the durable store that is needed.
type Records interface {
	Get(ctx context.Context, key string) (record.Record, error)
	Write(ctx context.Context, w record.Write) (int64, error)
}

// What is answered.
var (
	ErrNone    = errors.New("the user has no second factor")
	ErrWrong   = errors.New("the code is wrong, or was used before")
	ErrSlow    = errors.New("too many tries")
	ErrPermit  = errors.New("a first factor takes a permit: a fresh invitation, or gatehouse user factor")
	ErrChanged = errors.New("the factors are being changed by others; try again")
)

const (
	prefix    = "factor/"
	Recovery  = 10 // recovery codes
	step      = 30 * time.Second
	steps     = 1  // that a clock may be off, either way
	codeBytes = 10 // of a recovery code
	tries     = 8  // of a change that another one came before
)

// fiveTries are tries at codes: five at once, then one a minute (row E20).
var fiveTries = throttled.RateQuota{MaxRate: throttled.PerHour(60), MaxBurst: 4}

// Whose names a user: issuer and subject.
type Whose struct{ Issuer, Subject string }

// Held is what a user has.
type Held struct {
	App      *App      `json:"app,omitempty"`
	Recovery [][]byte  `json:"recovery,omitempty"` // digests of codes that are left
	Permit   time.Time `json:"permit,omitzero"`    // until when a first factor may be enrolled
}

// App is an authenticator app.
type App struct {
	Secret   string    `json:"secret"` // base32
	Enrolled time.Time `json:"enrolled"`
	Last     int64     `json:"last"` // the last step whose code was taken
}

// Format hides it from every format.
func (Held) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// Format hides it from every format.
func (App) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// Options is what Factors need from outside.
type Options struct {
	Digest   []byte // secret of the digests in names of records, which are not encrypted
	Rand     io.Reader
	Now      func() time.Time
	Counters throttled.GCRAStoreCtx // of tries; those that nodes share
}

// Factors are the second factors of all users.
type Factors struct {
	in      Records
	errors  record.Errors
	options Options
	limiter *throttled.GCRARateLimiterCtx
}

// New makes one.
func New(in Records, e record.Errors, o Options) (*Factors, error) {
	limiter, err := throttled.NewGCRARateLimiterCtx(o.Counters, fiveTries)
	return &Factors{in: in, errors: e, options: o, limiter: limiter}, err
}

func (f *Factors) key(w Whose) string {
	h := hmac.New(sha256.New, f.options.Digest)
	fmt.Fprintf(h, "%d:%s%s", len(w.Issuer), w.Issuer, w.Subject)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Has tells whether a user has a factor, and whether a first one may be enrolled now.
func (f *Factors) Has(ctx context.Context, w Whose) (has, permitted bool, err error) {
	h, _, err := f.get(ctx, w)
	return h.App != nil, f.options.Now().Before(h.Permit), err
}

// Permit lets a user enrol a first factor for a time.
func (f *Factors) Permit(ctx context.Context, w Whose, life time.Duration) error {
	return f.change(ctx, w, func(h *Held) error {
		h.Permit = f.options.Now().Add(life).UTC().Truncate(time.Second)
		return nil
	})
}

// Remove takes all factors of a user away, for one who has lost them; the user needs a permit then. It is ErrNone when there are none.
func (f *Factors) Remove(ctx context.Context, w Whose) error {
	if has, _, err := f.Has(ctx, w); err != nil || !has {
		return cmp.Or(err, ErrNone)
	}
	_, err := f.in.Write(ctx, record.Write{Key: prefix + f.key(w), Version: -1})
	return err
}

// Draft makes a secret for an app. It counts for nothing until Enrol has seen a code of it.
func (f *Factors) Draft(service, name string) (secret, address string, err error) {
	k, err := totp.Generate(totp.GenerateOpts{Issuer: service, AccountName: name, Period: uint(step / time.Second), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1, Rand: f.options.Rand, SecretSize: 20})
	if err != nil {
		return "", "", err
	}
	return k.Secret(), k.URL(), nil
}

// Enrol gives a user an app when it shows a code; and the recovery codes, this once. A first one takes a permit. One that is there is
// replaced only by who has shown it just now, which whoever asks has seen to.
func (f *Factors) Enrol(ctx context.Context, w Whose, secret, code string, replace bool) (recovery []string, err error) {
	if err := f.slow(ctx, w); err != nil {
		return nil, err
	}
	at, ok := f.matches(secret, code, 0)
	if !ok {
		return nil, ErrWrong
	}
	err = f.change(ctx, w, func(h *Held) error {
		if h.App == nil && !f.options.Now().Before(h.Permit) || h.App != nil && !replace {
			return ErrPermit
		}
		h.App, h.Permit, h.Recovery, recovery = &App{Secret: secret, Enrolled: f.options.Now().UTC().Truncate(time.Second), Last: at}, time.Time{}, nil, nil
		for range Recovery {
			raw := make([]byte, codeBytes)
			if _, err := io.ReadFull(f.options.Rand, raw); err != nil {
				return err
			}
			text := strings.ToLower(base32.StdEncoding.EncodeToString(raw))
			d := sha256.Sum256([]byte(text))
			h.Recovery, recovery = append(h.Recovery, d[:]), append(recovery, text[:4]+"-"+text[4:8]+"-"+text[8:12]+"-"+text[12:])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return recovery, nil
}

// Show takes a code of the app, or a recovery code, once (row E20). It tells which it was, and how many recovery codes are left.
func (f *Factors) Show(ctx context.Context, w Whose, code string) (method string, left int, err error) {
	if err := f.slow(ctx, w); err != nil {
		return "", 0, err
	}
	err = f.change(ctx, w, func(h *Held) error {
		if h.App == nil {
			return ErrNone
		}
		if at, ok := f.matches(h.App.Secret, code, h.App.Last); ok {
			h.App.Last, method, left = at, "otp", len(h.Recovery)
			return nil
		}
		d := sha256.Sum256([]byte(strings.ToLower(strings.ReplaceAll(code, "-", ""))))
		found := -1
		for i, one := range h.Recovery {
			if subtle.ConstantTimeCompare(one, d[:]) == 1 {
				found = i
			}
		}
		if found < 0 {
			return ErrWrong
		}
		h.Recovery = slices.Delete(h.Recovery, found, found+1)
		method, left = "recovery", len(h.Recovery)
		return nil
	})
	return method, left, err
}

// matches finds the step whose code this is, after the last one that was taken. A code is six ASCII digits and nothing else.
func (f *Factors) matches(secret, code string, last int64) (at int64, ok bool) {
	if len(code) != 6 || strings.ContainsFunc(code, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, false
	}
	now := f.options.Now()
	for d := -steps; d <= steps; d++ {
		moment := now.Add(time.Duration(d) * step)
		want, err := totp.GenerateCodeCustom(secret, moment, totp.ValidateOpts{Period: uint(step / time.Second), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		n := moment.Unix() / int64(step/time.Second)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && n > last {
			at, ok = n, true
		}
	}
	return at, ok
}

// Slow is ErrSlow with how long to wait.
type Slow struct{ Wait time.Duration }

// Error says it in words.
func (s Slow) Error() string { return fmt.Sprintf("%v; wait %s", ErrSlow, s.Wait) }

// Unwrap is ErrSlow.
func (s Slow) Unwrap() error { return ErrSlow }

func (f *Factors) slow(ctx context.Context, w Whose) error {
	limited, result, err := f.limiter.RateLimitCtx(ctx, "factor/"+f.key(w), 1)
	if err == nil && limited {
		err = Slow{max(result.RetryAfter, time.Second)}
	}
	return err
}

func (f *Factors) get(ctx context.Context, w Whose) (h Held, version int64, err error) {
	r, err := f.in.Get(ctx, prefix+f.key(w))
	if errors.Is(err, f.errors.None) {
		return h, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &h)
	}
	return h, r.Version, err
}

// change changes what a user has as often as others come before: two who show one code at once can't both be right.
func (f *Factors) change(ctx context.Context, w Whose, do func(*Held) error) error {
	for range tries {
		h, version, err := f.get(ctx, w)
		if err == nil {
			err = do(&h)
		}
		if err != nil {
			return err
		}
		value, err := json.Marshal(h)
		if err != nil {
			return err
		}
		if _, err = f.in.Write(ctx, record.Write{Key: prefix + f.key(w), Value: value, Version: version}); !errors.Is(err, f.errors.Conflict) {
			return err
		}
	}
	return ErrChanged
}
