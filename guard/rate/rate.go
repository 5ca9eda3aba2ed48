// Package rate bounds how often somebody may call: an address (one IPv4 address or one IPv6 /64, since that is what one
// subscriber holds) before anything else is known, and a caller once the credential is verified. It stops password and
// token guessing, scraping, and one client that takes the place of all others. A refused credential counts ten times.
package rate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/throttled/throttled/v2"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// The reasons for which this guard denies.
const (
	ReasonAddress  gate.Reason = "rate.address"
	ReasonRefused  gate.Reason = "rate.refused" // too many refused credentials
	ReasonCaller   gate.Reason = "rate.caller"
	ReasonCounters gate.Reason = "rate.counters"
)

// Reasons lists them.
func Reasons() []string {
	return []string{string(ReasonAddress), string(ReasonCaller), string(ReasonCounters), string(ReasonRefused)}
}

// refusedCost is how many requests a refused credential counts as.
const refusedCost = 10

// Counters is where the numbers are kept: store/memory, or what nodes share.
type Counters = throttled.GCRAStoreCtx

// Shared is what Counters of several nodes are besides: they give limits that all nodes keep together. Without a
// connection between the nodes they count this node's share: they neither wait nor open.
type Shared interface {
	Limiter(count int, per time.Duration, burst int) (throttled.RateLimiterCtx, error)
}

// Config is the section guards.rate.
type Config struct {
	// For each client address: one IPv4 address or one IPv6 /64. Default 50/s burst 200.
	PerAddress Quota `yaml:"per_address"`
	// For each caller, over all addresses. Default 20/s burst 100.
	PerCaller Quota `yaml:"per_caller"`
}

// Defaults are what holds where the section says nothing.
func (c Config) Defaults() Config {
	if c.PerAddress == (Quota{}) {
		c.PerAddress = Quota{Count: 50, Per: time.Second, Burst: 200}
	}
	if c.PerCaller == (Quota{}) {
		c.PerCaller = Quota{Count: 20, Per: time.Second, Burst: 100}
	}
	return c
}

// meter counts one kind of key against one quota.
type meter struct {
	kind    string // "address" or "caller", in fields that clients read
	quota   Quota
	policy  string
	prefix  string // of keys: a changed quota starts a new count
	limiter throttled.RateLimiterCtx
	results *gate.Slot[throttled.RateLimitResult]
}

func newMeter(kind string, q Quota, c Counters) (meter, error) {
	if c == nil {
		return meter{}, errors.New("rate: no counters were given")
	}
	limiter, err := q.limiter(c)
	return meter{
		kind: kind, quota: q, limiter: limiter, prefix: kind + " " + q.String() + " ", results: gate.NewSlot[throttled.RateLimitResult](),
		policy: fmt.Sprintf("%q;q=%d;w=%d", kind, q.Burst, q.window()),
	}, err
}

// Quota is what holds for each address or caller.
func (m *meter) Quota() Quota { return m.quota }

// take counts cost requests against the key.
func (m *meter) take(ctx context.Context, x *gate.Exchange, key string, reason gate.Reason) gate.Verdict {
	limited, result, err := m.limiter.RateLimitCtx(ctx, m.prefix+key, 1)
	if err != nil {
		return gate.Deny(gate.Unavailable, ReasonCounters, "counters: %v", err)
	}
	m.results.Set(x, result)
	if !limited {
		return gate.Allow()
	}
	return m.exhausted(result, reason, "this %s has used up %s", m.kind, m.quota)
}

// exhausted denies until more is allowed.
func (m *meter) exhausted(result throttled.RateLimitResult, reason gate.Reason, format string, args ...any) gate.Verdict {
	wait := strconv.Itoa(int(math.Ceil(max(result.RetryAfter.Seconds(), 1))))
	return gate.Deny(gate.TooMany, reason, format, args...).At("guards.rate.per_"+m.kind).With("Retry-After", wait)
}

// tell adds what is left to the answer (RateLimit and RateLimit-Policy, draft-ietf-httpapi-ratelimit-headers-10).
func (m *meter) tell(x *gate.Exchange, fields http.Header) {
	result, ok := m.results.Get(x)
	if !ok {
		return
	}
	reset := int(math.Ceil(result.ResetAfter.Seconds()))
	appendList(fields, "RateLimit-Policy", m.policy)
	appendList(fields, "RateLimit", `"`+m.kind+`";r=`+strconv.Itoa(result.Remaining)+`;t=`+strconv.Itoa(reset))
}

func appendList(h http.Header, name, item string) {
	name = http.CanonicalHeaderKey(name)
	if old := h[name]; len(old) > 0 {
		item = old[0] + ", " + item
	}
	h[name] = []string{item}
}

// Arrivals counts addresses, before anything else is known of a request.
type Arrivals struct {
	meter
	refused meter // of refused credentials alone: a tenth of the quota
}

// NewArrivals makes the guard.
func NewArrivals(cfg Config, c Counters, _ func() time.Time) (*Arrivals, error) {
	q := cfg.Defaults().PerAddress
	m, err := newMeter("address", q, c)
	if err != nil {
		return nil, err
	}
	refused, err := newMeter("address", Quota{Count: q.Count, Per: refusedCost * q.Per, Burst: max(1, q.Burst/refusedCost)}, c)
	refused.prefix = "refused " + q.String() + " "
	return &Arrivals{meter: m, refused: refused}, err
}

// Check denies an address that has used up its quota. An address whose credentials were refused too often may come without
// one only: the quota alone would let a guesser who waits for each next request guess at its full rate.
func (g *Arrivals) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	key := addressKey(x.Source.Client)
	if v := g.take(ctx, x, key, ReasonAddress); !v.Allowed() || !credential(x) {
		return v
	}
	_, result, err := g.refused.limiter.RateLimitCtx(ctx, g.refused.prefix+key, 0) // looks, and takes nothing
	switch {
	case err != nil:
		return gate.Deny(gate.Unavailable, ReasonCounters, "counters: %v", err)
	case result.RetryAfter > 0:
		return g.exhausted(result, ReasonRefused, "too many credentials of this address were refused: a tenth of %s", g.quota)
	}
	return gate.Allow()
}

// credential tells that the request carries one that can be refused.
func credential(x *gate.Exchange) bool {
	if x.Request == nil {
		return false
	}
	if x.Request.Fields.Get("Authorization") != "" {
		return true
	}
	if x.API != nil {
		for _, name := range x.API.Credentials {
			if x.Request.Fields.Get(name) != "" {
				return true
			}
		}
	}
	return false
}

// Review tells the client what is left, instead of what a server behind says of its own limits.
func (g *Arrivals) Review(_ context.Context, x *gate.Exchange, a *gate.Answer) gate.Verdict {
	for name := range a.Fields {
		if lower := strings.ToLower(name); lower == "ratelimit" || strings.HasPrefix(lower, "ratelimit-") || strings.HasPrefix(lower, "x-ratelimit-") {
			delete(a.Fields, name)
		}
	}
	g.tell(x, a.Fields)
	return gate.Allow()
}

// Settle charges an address for a credential that was refused.
func (g *Arrivals) Settle(x *gate.Exchange, o gate.Outcome) {
	if o.Verdict.Code != gate.NoIdentity || !credential(x) {
		return
	}
	key := addressKey(x.Source.Client) // both are counted as far as they can be: counters that fail deny the next request
	_, _, _ = g.refused.limiter.RateLimitCtx(context.Background(), g.refused.prefix+key, 1)
	_, _, _ = g.limiter.RateLimitCtx(context.Background(), g.prefix+key, refusedCost-1)
}

// addressKey is what one subscriber holds: an IPv4 address, or an IPv6 /64.
func addressKey(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	b := a.As16()
	return string(b[:])
}

// Callers counts callers, once the credential is verified.
type Callers struct{ meter }

// NewCallers makes the guard.
func NewCallers(cfg Config, _ *gate.API, c Counters, _ func() time.Time) (*Callers, error) {
	m, err := newMeter("caller", cfg.Defaults().PerCaller, c)
	return &Callers{m}, err
}

// Check denies a caller who has used up the quota. Without a credential only the address counts.
func (g *Callers) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	p := x.Principal()
	if p == nil {
		return gate.Allow()
	}
	return g.take(ctx, x, p.Key(), ReasonCaller)
}

// Review tells the client what is left.
func (g *Callers) Review(_ context.Context, x *gate.Exchange, a *gate.Answer) gate.Verdict {
	g.tell(x, a.Fields)
	return gate.Allow()
}
