// Package gate is Gatehouse's vocabulary: the request on its way (Exchange), what it asks for (API, Operation), who asks
// (Principal), what a guard says (Verdict, Code, Reason), what is written down (Event, Finding). It imports nothing of
// ours but kit, so that guards share words and nothing else.
package gate

import (
	"context"
	"time"
)

// Guard looks at a request before it reaches a server. Check is called at most once for an exchange, in the order of
// pipeline/order.go, from one goroutine per exchange and from many exchanges at once. A panic is a denial.
type Guard interface {
	Check(ctx context.Context, x *Exchange) Verdict
}

// ResponseGuard looks at an answer before its first byte leaves. A guard may be both.
type ResponseGuard interface {
	Review(ctx context.Context, x *Exchange, a *Answer) Verdict
}

// Settler is told how an exchange ended: exactly once for every guard whose Check ran, whatever came after (denied
// later, upstream failed, client gone, panic, answered).
type Settler interface {
	Settle(x *Exchange, o Outcome)
}

// BodyUser is a guard that may read the body. NeedsBody decides at load, for each operation, whether it will: an
// operation whose body nobody needs is streamed.
type BodyUser interface {
	NeedsBody(op *Operation) bool
}

// AnswerReader is a guard that looks into the bodies of answers. It is asked only when its Check ran.
type AnswerReader interface {
	// ReadsAnswer decides at load, for each operation, whether answers may be looked into: their servers are then asked for
	// no coding that can't be taken off.
	ReadsAnswer(op *Operation) bool
	// InspectAnswer begins to look into one answer whose head is known and has not left; nil lets its body pass unread.
	InspectAnswer(x *Exchange, a *Answer) Inspection
}

// Inspection looks into the body of one answer, without its content coding. It belongs to one goroutine. A denial before the
// head has left takes the answer's place; a later one breaks the answer off.
type Inspection interface {
	// Hold says how many bytes wait for Begin, and how long they do at most when the answer's length is unknown.
	Hold() (bytes int, wait time.Duration)
	// Begin judges the first bytes, before anything leaves. Whole says that they are all.
	Begin(ctx context.Context, body []byte, whole bool) Verdict
	// Next judges what follows, in order, each piece before it leaves. Last says that it is the last; it may be empty.
	Next(ctx context.Context, body []byte, last bool) Verdict
	// Pending says how many of the last bytes that were judged may not leave before Next was asked again: they look like the
	// beginning of something.
	Pending() int
	// Unread judges an answer whose body can't be read from here on, such as one in an unknown coding.
	Unread(why string) Verdict
	// Noted gives, once, what was found and not denied.
	Noted() []Would
}

// KindFound is the kind of an event about what was found, and not denied, in an answer that had begun to leave; Of names the
// exchange.
const KindFound = "found"
