package upstream

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// engine speaks one protocol to one server.
type engine interface {
	// roundTrip sends a request once, never twice, and reads the head of its answer. The ender is told when the body has
	// been read or given up; it is nil with an error.
	roundTrip(a *attempt) (*http.Response, ender, error)
	// counts tells how many connections are kept for later and how many were ever opened.
	counts() (idle int, dials int64)
	// reap closes connections that have been unused for too long.
	reap(now time.Time)
	// close stops keeping connections. What is in progress goes on.
	close()
}

// ender gives back what an exchange occupies. Clean means that the answer was read to its end.
type ender interface{ end(clean bool) }

// attempt is one sending of one request to one server.
type attempt struct {
	ctx    context.Context
	req    *http.Request // the caller's; only read
	path   string        // escaped path, base included
	body   *upload       // nil without a body
	inline bool          // the body is small and in memory: it is written before the answer is read
	call   Call
	fresh  bool // use no kept connection

	// What the engine has found out.
	reused  bool
	sent    bool // a part of the request was handed to the network
	heard   bool // a part of an answer came
	connect time.Duration
}

// The states of an upload.
const (
	untouched int32 = iota
	started
	revoked
)

// upload is a request's body in one attempt. Either it was never read, and then the next attempt may have it, or whoever
// reads it closes it.
type upload struct {
	body  io.ReadCloser
	left  int64 // bytes that are still to come; negative when that is not known
	state atomic.Int32
}

func newUpload(body io.ReadCloser, length int64) *upload {
	if length == 0 { // a body of unknown length, as in net/http
		length = -1
	}
	return &upload{body: body, left: length}
}

// Read reads the client's body and marks its errors as the client's. A body that is not as long as was said is one: the
// server would take what follows for a part of it, or wait.
func (u *upload) Read(p []byte) (int, error) {
	if u.state.Load() != started && !u.state.CompareAndSwap(untouched, started) {
		return 0, bodyError{http.ErrBodyReadAfterClose}
	}
	n, err := u.body.Read(p)
	if u.left >= 0 {
		if int64(n) > u.left {
			return 0, bodyError{http.ErrContentLength}
		}
		if u.left -= int64(n); err == io.EOF && u.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil && err != io.EOF {
		err = bodyError{err}
	}
	return n, err
}

// Close is called by the reader when it stops reading. A body that was never read stays open for the next attempt.
func (u *upload) Close() error {
	if u.state.Load() != started {
		return nil
	}
	return u.body.Close()
}

// revoke keeps an attempt that has ended from reading the body. It tells whether the body is still untouched.
func (u *upload) revoke() bool {
	return u.state.CompareAndSwap(untouched, revoked) || u.state.Load() == revoked
}

// drop closes a body that nobody has begun to read.
func (u *upload) drop() {
	if u != nil && u.revoke() {
		_ = u.body.Close()
	}
}
