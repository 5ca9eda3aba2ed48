// Package control lets the owner of a running process ask it to do something, through a socket that nobody else on the
// machine can use: the folder and the socket belong to the owner alone, and the system says of each caller who it is.
// Nothing of it is reachable from a network or a browser. The same operations can be asked of a process that isn't
// running, by performing them in the command's own (Operations is a Target as well as Peer is).
//
// A question is one JSON value; what comes back is a stream of lines: any number of progress lines, then the answer or
// an error.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Progress tells how far a long operation has come: done of total (0: not known), in words of what.
type Progress func(done, total int64, what string)

// Operations are what can be asked, by name. Fill it with Handle before it is used.
type Operations struct {
	named map[string]operation
}

type operation func(ctx context.Context, question []byte, tell Progress) (any, error)

// Handle adds an operation that takes a question Q and gives an answer A; both are JSON on their way. A question with
// fields that Q doesn't have is refused: the asker means something that this version doesn't know.
func Handle[Q, A any](o *Operations, name string, do func(ctx context.Context, q Q, tell Progress) (A, error)) {
	if o.named == nil {
		o.named = map[string]operation{}
	}
	if _, twice := o.named[name]; twice {
		panic("control: " + name + " stands twice")
	}
	o.named[name] = func(ctx context.Context, question []byte, tell Progress) (any, error) {
		var q Q
		d := json.NewDecoder(bytes.NewReader(question))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return nil, fmt.Errorf("%s: the question is not understood (%w); is the gateway another version than this command?", name, err)
		}
		return do(ctx, q, tell)
	}
}

// Names lists the operations in order.
func (o *Operations) Names() []string {
	var names []string
	for name := range o.named {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Target is where an operation is performed: a running process (Peer) or this one (Operations).
type Target interface {
	perform(ctx context.Context, name string, question []byte, tell Progress) (answer []byte, err error)
}

// Ask has an operation performed and gives its answer. Tell may be nil.
func Ask[A any](ctx context.Context, t Target, name string, question any, tell Progress) (A, error) {
	var answer A
	q, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	if tell == nil {
		tell = func(int64, int64, string) {}
	}
	raw, err := t.perform(ctx, name, q, tell)
	if err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(raw, &answer)
}

// ErrUnknown says that there is no such operation.
var ErrUnknown = errors.New("there is no such operation; the gateway is still starting, or another version than this command")

func (o *Operations) perform(ctx context.Context, name string, question []byte, tell Progress) ([]byte, error) {
	do, ok := o.named[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	answer, err := do(ctx, question, tell)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}
