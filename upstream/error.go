package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
)

// The reasons for which no usable answer came, as events name them.
const (
	ReasonConnect         = "upstream.connect"            // 502: no connection, or its TLS handshake ended in a refusal
	ReasonReset           = "upstream.reset"              // 502: the server ended the connection in the middle
	ReasonRefusedResponse = "upstream.refused_response"   // 502: the answer is malformed, too large or was not asked for
	ReasonTimeout         = "upstream.timeout"            // 504: connecting, the first byte, a pause or a body took too long
	ReasonNoServer        = "upstream.no_server"          // 503: every server is at its limit of connections
	ReasonBreakerOpen     = "upstream.breaker_open"       // 503: the circuit of every server is open
	ReasonCertificate     = "upstream.client_certificate" // 503: the certificate to show to servers cannot be had (row I6)
	ReasonRequestBody     = "upstream.request_body"       // 400: reading the client's body ended in an error
	ReasonClientGone      = "upstream.client_gone"        // 499: the client gave up; nobody reads this status
	ReasonUnsendable      = "upstream.unsendable"         // 500: the request cannot be written safely; the gateway is at fault
)

// Reasons lists every reason that an Error can carry.
func Reasons() []string {
	return []string{
		ReasonConnect, ReasonReset, ReasonRefusedResponse, ReasonTimeout, ReasonNoServer, ReasonBreakerOpen,
		ReasonCertificate, ReasonRequestBody, ReasonClientGone, ReasonUnsendable,
	}
}

// Error is why there is no answer, or why an answer's body ended early.
type Error struct {
	Reason string // one of Reasons
	Status int    // the HTTP status that goes with it
	Detail string // where it happened and what was waited for; never sent to a client
	Err    error  // the cause; may be nil

	blameless bool // the exchange's own deadline ended it, which says nothing about the server
}

// Error reads "reason: detail: cause".
func (e *Error) Error() string {
	text := e.Reason
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func fault(reason, detail string, cause error) *Error {
	return &Error{Reason: reason, Status: statusOf(reason), Detail: detail, Err: cause}
}

func statusOf(reason string) int {
	switch reason {
	case ReasonTimeout:
		return 504
	case ReasonNoServer, ReasonBreakerOpen, ReasonCertificate:
		return 503
	case ReasonRequestBody:
		return 400
	case ReasonClientGone:
		return 499
	case ReasonUnsendable:
		return 500
	}
	return 502
}

// bodyError marks an error that came from reading the client's body, not from the server.
type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }

// classify turns what the network or a parser said into an Error. It never blames the server for the client's body or for
// a client that left.
func classify(ctx context.Context, detail string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	var body bodyError
	if errors.As(err, &body) {
		return fault(ReasonRequestBody, detail, body.error)
	}
	if cause := ctx.Err(); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			late := fault(ReasonTimeout, detail+": the exchange's deadline", context.Cause(ctx))
			late.blameless = true
			return late
		}
		return fault(ReasonClientGone, detail, context.Cause(ctx))
	}
	var network net.Error
	var operation *net.OpError
	switch {
	case errors.As(err, &network) && network.Timeout():
		return fault(ReasonTimeout, detail, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &operation),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fault(ReasonReset, detail, err)
	}
	return fault(ReasonRefusedResponse, detail, err)
}

// failure tells whether the server is to blame for e, so that health and breaker count it.
func (e *Error) failure() bool {
	if e.blameless {
		return false
	}
	switch e.Reason {
	case ReasonConnect, ReasonReset, ReasonRefusedResponse, ReasonTimeout:
		return true
	}
	return false
}

// retryable tells whether another server might do better. A refused answer is not retried: the server has done the work.
func (e *Error) retryable() bool {
	switch e.Reason {
	case ReasonConnect, ReasonReset, ReasonTimeout:
		return true
	}
	return false
}
