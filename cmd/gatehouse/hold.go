package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/dpop"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// open finds the place of the document and reads it for the first time.
func (n *node) open(ctx context.Context, place string, o source.Options) (*source.Bundle, error) {
	o.Now = n.now
	s, err := source.Open(place, o)
	if err != nil {
		return nil, err
	}
	n.current.source = s
	b, err := settled(ctx, func() (*source.Bundle, error) { return s.Read(ctx) })
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; write one with: gatehouse init", err)
	}
	return b, err
}

// settled tries again while the document is being exchanged: reads, and perhaps understands and accepts, until what was read
// is of one generation.
func settled[A any](ctx context.Context, try func() (A, error)) (A, error) {
	for n := 1; ; n++ {
		a, err := try()
		if n == settleTries || !errors.Is(err, source.ErrChanged) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(settlePause):
		}
	}
}

// How often and after which pause a start reads a document again that changed while it was read.
const (
	settleTries = 10
	settlePause = 300 * time.Millisecond
)

// first puts together what the node begins with; a document that changes meanwhile is read again.
func (n *node) first(ctx context.Context, b *source.Bundle) (*loaded, error) {
	return settled(ctx, func() (l *loaded, err error) {
		if b == nil {
			if b, err = n.current.source.Read(ctx); err != nil {
				return nil, err
			}
		}
		l, err = n.load(b)
		if err == nil {
			err = b.Accept(ctx)
		}
		b = nil
		return l, err
	})
}

// hold opens what this installation remembers, by the document that is about to be served. From now on the process answers
// on its control socket, since a root key may wait for people with shares.
func (n *node) hold(ctx context.Context, at places, b *source.Bundle, tell io.Writer) error {
	d, err := config.Parse(b.File, b.Data)
	if d == nil {
		return err
	}
	document, err := rememberingOf(d, n.now())
	if err != nil {
		return inOrder(mistakesOf(err))
	}
	shares := key.NewCollector(n.now, n.shareGiven)
	var starting control.Operations
	control.Handle(&starting, "key.share", giveShare(shares))
	socket, err := control.Listen(at.control(), &starting, n.asked)
	if err != nil {
		return unwritable(at.state, err)
	}
	if s := document.key.Root.Shares; s != nil {
		n.log.Warn("the root key waits for people with shares; each gives one by: gatehouse key share", "needed", s.Threshold, "of", s.Of)
	}
	n.held, err = opening{places: at, document: document, log: n.log, now: n.now, shares: shares, env: n.kept.env, unattended: !people(tell)}.open(ctx)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	n.held.control = socket
	once := fleet.NewOnce(n.held.fast, n.now)
	if err := once.Begin(ctx); err != nil {
		n.log.Warn("store.shared (Redis) can't be reached: APIs with single_use refuse every token, and all APIs those that are bound to a key, until it can", "error", err)
	}
	n.kept.once = once
	nonces, err := n.held.ring.Derive(forFleet, "nonces of proofs")
	if err != nil {
		return err
	}
	n.kept.nonces = dpop.NewNonces(nonces)
	if n.held.shared != nil {
		n.kept.counters = n.held.shared.NewCounters(counted, steady())
	}
	tellFirst(tell, n.held.first)
	return nil
}

// documentAway logs that the place of the document can't be looked at, and when it can again.
func (n *node) documentAway(problem error) {
	if problem == nil {
		n.log.Info("the document can be read again")
		return
	}
	n.log.Warn("the document can't be read; the one in force stays", "error", problem)
}

// release closes what hold opened.
func (n *node) release() error {
	if n.held == nil {
		return nil
	}
	h := n.held
	n.held = nil
	return errors.Join(h.control.Close(), h.close())
}

// asked writes down what was asked on the control socket.
func (n *node) asked(name string, uid int, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed: " + firstLine(err)
	}
	n.system("control."+gate.Reason(name), fmt.Sprintf("asked by uid %d; %s", uid, outcome))
}

// shareGiven writes down that somebody gave a share of the root key (row K10). No event can be written before the start,
// so it stands in the process' log.
func (n *node) shareGiven(a key.Attempt) {
	n.log.Warn("a share of the root key was given", "from", a.From, "accepted", a.Accepted, "too_soon", a.TooSoon, "missing", a.Missing)
}

func mistakesOf(err error) mistake.List {
	var m mistake.List
	m.Under("", err)
	return m
}
