package waf

import (
	"runtime"
	"sync"
	"time"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// watch is a clock for those who use up processor time without end: the engine can't be told to stop, but its operators can
// stop it between two values. It is shared by all transactions of a rule set.
type watch struct{ running sync.Map } // transaction -> *meter

// meter is what one request may use, and has. It belongs to one goroutine, which stays on one thread meanwhile.
type meter struct {
	began, most time.Duration // of the thread's own time
	since       int           // bytes seen since the time was last looked at
	over        bool
}

// The time is looked at after so many bytes of values, each with the cost of a few more.
const (
	lookAfter = 8 << 10
	eachValue = 64
)

// start begins to count. The end must be told, on the same goroutine.
func (m *meter) start(most time.Duration) {
	runtime.LockOSThread() // the time is the thread's
	*m = meter{began: threadTime(), most: most}
}

func (m *meter) end() { runtime.UnlockOSThread() }

// besides does something that is not on the request's account.
func (m *meter) besides(do func()) {
	before := threadTime()
	do()
	m.began += threadTime() - before
}

// of lets the operators know which time a transaction has, until the end is told.
func (c *watch) of(tx transaction, m *meter) (end func()) {
	c.running.Store(tx, m)
	return func() { c.running.Delete(tx) }
}

// meter is that of a transaction; nil for what is asked outside of one.
func (c *watch) meter(state plugintypes.TransactionState) *meter {
	tx, ok := state.(transaction)
	if !ok {
		return nil
	}
	m, ok := c.running.Load(tx)
	if !ok {
		return nil
	}
	return m.(*meter)
}

// late counts a value, and tells that the time is up.
func (m *meter) late(value string) bool {
	if m.since += len(value) + eachValue; m.since > lookAfter && !m.over {
		m.since = 0
		m.over = threadTime()-m.began > m.most
	}
	return m.over
}

// wrap gives an operator that stops its transaction when the time is up.
func (c *watch) wrap(t *secrule.Test) plugintypes.Operator {
	switch t.Operator.(type) {
	case nil, watched:
		return t.Operator
	}
	return watched{t.Operator, t.Negated, c}
}

type watched struct {
	plugintypes.Operator
	negated bool
	clock   *watch
}

// Evaluate answers like the operator. Once the time is up nothing matches any more: the transaction is denied anyway.
func (w watched) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if m := w.clock.meter(tx); m != nil && m.late(value) {
		tx.Interrupt(&types.Interruption{Status: 413, Action: "deny"})
		return w.negated
	}
	return w.Operator.Evaluate(tx, value)
}
