package gate

import (
	"fmt"
	"net/http"
)

// Verdict is what a guard says. The zero Verdict denies: a guard that errs or forgets has denied.
type Verdict struct {
	allowed bool

	Code   Code        // what the client learns
	Reason Reason      // the exact cause, for the event
	Detail string      // in words for the operator; never a secret
	Rule   string      // which rule: a JSON pointer in the contract, a document path, a WAF rule id
	Shown  string      // the offending bytes, masked
	Fix    string      // the narrowest exception that would have admitted the request
	Header http.Header // fields that the answer must carry, such as Retry-After; nil for most
	To     string      // the address to which a browser's page is sent in place of an answer with the code's status; "" for most
	Noted  []Would     // what was found and not denied, for the event; nil for most
}

// Allow lets the request go on.
func Allow() Verdict { return Verdict{allowed: true} }

// Deny stops the request. Format and args make the detail, which only the operator sees.
func Deny(code Code, reason Reason, format string, args ...any) Verdict {
	return Verdict{Code: code, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// At names the rule that denied: a JSON pointer in the contract, a path in the document, a WAF rule id.
func (v Verdict) At(rule string) Verdict { v.Rule = rule; return v }

// Showing adds the offending bytes. The caller masks what may be secret; see Mask.
func (v Verdict) Showing(bytes string) Verdict { v.Shown = bytes; return v }

// Fixed adds the narrowest exception, as the line that an operator would write.
func (v Verdict) Fixed(line string) Verdict { v.Fix = line; return v }

// With adds a field to the answer.
func (v Verdict) With(name, value string) Verdict {
	h := v.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Add(name, value)
	v.Header = h
	return v
}

// Sending has a browser go to another address, where the cause of the denial can be mended (303).
func (v Verdict) Sending(to string) Verdict { v.To = to; return v }

// Noting adds what was found and not denied.
func (v Verdict) Noting(w ...Would) Verdict { v.Noted = append(v.Noted, w...); return v }

// Allowed tells whether the request goes on.
func (v Verdict) Allowed() bool { return v.allowed }

// Mask shortens a value for an event and hides the middle of it, so that an operator recognises the place without
// learning a secret: at most the first and last two characters of a value of twelve or more remain.
func Mask(value string) string {
	r := []rune(value)
	if len(r) < 12 {
		return fmt.Sprintf("(%d characters)", len(r))
	}
	return fmt.Sprintf("%q…%q (%d characters)", string(r[:2]), string(r[len(r)-2:]), len(r))
}
