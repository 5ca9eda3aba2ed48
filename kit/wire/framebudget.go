package wire

import (
	"fmt"
	"time"
)

// FrameBudget says how much an HTTP/2 client may ask for without doing any work; zero values mean the default, written behind each.
//
// Each kind of frame draws from an account of its own. Accounts fill with time and with useful work, up to a bound, so that a busy
// gRPC connection may send many PINGs, a download many WINDOW_UPDATEs, and a flood on an idle connection ends at once.
type FrameBudget struct {
	Resets   int              // 180 streams open or reset, by either side, before any of the answer was sent; must exceed the stream limit. A stream that is answered pays its place back and one more; the rest refills in a minute
	Overhead int              // 200 frames of each other kind (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, CONTINUATION, unknown); refills in Window
	Window   time.Duration    // 10 s
	Now      func() time.Time // time.Now
}

func (b FrameBudget) withDefaults() FrameBudget {
	b.Resets = orDefault(b.Resets, 180)
	b.Overhead = orDefault(b.Overhead, 200)
	b.Window = orDefault(b.Window, 10*time.Second)
	if b.Now == nil {
		b.Now = time.Now
	}
	return b
}

// account is what one kind of frame is paid from.
type account int

const (
	accountResets    account = iota // streams without an answer, open or reset (D1, D2): paid when opened, so nothing is counted late
	accountLateReset                // RST_STREAM for streams that were answered
	accountSettings
	accountPing
	accountPriority
	accountWindowUpdate
	accountEmptyData
	accountContinuation
	accountOther
	accounts
)

// String is the word for the operator.
func (a account) String() string {
	return [...]string{"HEADERS (streams that stay without an answer)", "RST_STREAM", "SETTINGS", "PING", "PRIORITY", "WINDOW_UPDATE", "DATA without data",
		"CONTINUATION", "unknown"}[a]
}

const (
	savings     = 20 // an account holds at most so many times its initial amount, however much work was done
	resetsSpan  = time.Minute
	moreAtOnce  = 1024 // bytes of DATA that justify another WINDOW_UPDATE
	perNewCalls = 4    // PRIORITY and unknown frames (PRIORITY_UPDATE) that browsers send per stream, generously
)

// ledger counts the frames of one connection.
type ledger struct {
	budget  FrameBudget
	balance [accounts]int
	filled  time.Time     // when the accounts were last refilled
	owed    time.Duration // time since then that is not paid out yet, for the resets
	open    map[uint32]struct{}
	highest uint32 // highest stream the client opened
}

func newLedger(b FrameBudget) *ledger {
	l := &ledger{budget: b, filled: b.Now(), open: map[uint32]struct{}{}}
	for a := range l.balance {
		l.balance[a] = b.Overhead
	}
	l.balance[accountResets] = b.Resets
	return l
}

// refill pays out what time brings: everything in a Window for overhead, in a minute for resets.
func (l *ledger) refill() {
	now := l.budget.Now()
	passed := now.Sub(l.filled)
	if passed < l.budget.Window/time.Duration(l.budget.Overhead) {
		return
	}
	l.filled = now
	share := int(min(passed, l.budget.Window) * time.Duration(l.budget.Overhead) / l.budget.Window)
	for a := accountResets + 1; a < accounts; a++ {
		l.balance[a] = max(l.balance[a], min(l.balance[a]+share, l.budget.Overhead))
	}
	l.owed += passed
	step := resetsSpan / time.Duration(l.budget.Resets)
	if n := min(l.budget.Resets, int(l.owed/step)); n > 0 {
		l.owed %= step
		l.payBack(n)
	}
}

// payBack fills the account of unanswered streams, up to what the open ones leave of it.
func (l *ledger) payBack(n int) {
	l.balance[accountResets] = min(l.balance[accountResets]+n, l.budget.Resets-len(l.open))
}

// earn pays for work, up to the savings bound.
func (l *ledger) earn(a account, n int) {
	l.balance[a] = min(l.balance[a]+n, max(l.balance[a], savings*l.budget.Overhead))
}

// spend takes one from an account; false means it was empty.
func (l *ledger) spend(a account) bool {
	l.balance[a]--
	return l.balance[a] >= 0
}

// fromClient counts a frame of the client. The refusal has no offset yet.
func (l *ledger) fromClient(f frame) *Refusal {
	a := accountOther
	switch f.kind {
	case frameHeaders:
		if f.stream > l.highest { // else it is a trailer section
			l.highest = f.stream
			l.open[f.stream] = struct{}{}
			l.earn(accountPriority, perNewCalls)
			l.earn(accountOther, perNewCalls)
			l.earn(accountWindowUpdate, 2)
			l.earn(accountContinuation, 2)
			l.earn(accountLateReset, 1)
			return l.charge(accountResets)
		}
		return nil
	case frameData:
		if !f.empty() {
			l.earn(accountPing, 1)
			return nil
		}
		if f.ends() { // at most one per stream
			return nil
		}
		a = accountEmptyData
	case frameReset:
		if _, unanswered := l.open[f.stream]; unanswered {
			delete(l.open, f.stream) // paid and lost
			return nil
		}
		a = accountLateReset
	case frameSettings:
		a = accountSettings
	case framePing:
		a = accountPing
	case framePriority:
		a = accountPriority
	case frameWindowUpdate:
		a = accountWindowUpdate
	case frameContinuation:
		a = accountContinuation
	}
	return l.charge(a)
}

// fromServer counts a frame of ours. Answers earn; a reset that the client provoked costs like one of its own (CVE-2025-8671).
func (l *ledger) fromServer(f frame) *Refusal {
	switch f.kind {
	case frameData:
		if !f.empty() {
			l.earn(accountPing, 1)
			l.earn(accountWindowUpdate, 2+f.length/moreAtOnce)
		}
		l.answered(f)
	case frameHeaders:
		if f.ends() { // without END_STREAM it may be informational, which is no answer
			l.answered(f)
		}
	case framePing, frameSettings:
		l.earn(accountPing, 1)
	case frameReset:
		if _, unanswered := l.open[f.stream]; unanswered {
			delete(l.open, f.stream) // paid and lost
		} else if f.first != [4]byte{} { // NO_ERROR follows an answer that did not need the rest of the request
			return l.charge(accountLateReset)
		}
	}
	return nil
}

// answered notes that a stream got some of its answer, and rewards one that is complete.
func (l *ledger) answered(f frame) {
	if _, unanswered := l.open[f.stream]; unanswered {
		delete(l.open, f.stream)
		l.payBack(1)
	}
	if f.ends() {
		l.payBack(1)
	}
}

// charge spends one from an account and refuses when it was empty.
func (l *ledger) charge(a account) *Refusal {
	if l.spend(a) {
		return nil
	}
	reason := reasonFrameOverhead
	if a == accountResets || a == accountLateReset {
		reason = reasonFrameResets
	}
	return refuse(reason, 0, fmt.Sprintf("more %s frames than the work on this connection explains", a))
}
