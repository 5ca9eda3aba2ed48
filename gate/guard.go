// Package gate is Gatehouse's vocabulary: the request on its way (Exchange), what it asks for (API, Operation), who asks
// (Principal), what a guard says (Verdict, Code, Reason), what is written down (Event, Finding). It imports nothing of
// ours but kit, so that guards share words and nothing else.
package gate

import "context"

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
