package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// keepSafe begins to sign the event log, and opens the place of backups.
func (n *node) keepSafe() (err error) {
	if n.held == nil {
		return nil
	}
	if err := n.sign(n.written.config); err != nil {
		return err
	}
	n.held.copies, err = newCopies(n.held, n)
	return err
}

// verified is what serve --verify has found.
type verified struct {
	OK     bool             `json:"ok"`
	Checks []backup.Checked `json:"checks"`
}

// verify does all that serve would do before its first request, but binds no socket, runs no job, writes no event and makes
// nothing that is missing.
func (s service) verify(ctx context.Context, std stdio) error {
	at, err := findPlaces()
	if err != nil {
		return err
	}
	v := verifying{s: s, at: at, log: slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	defer v.close()
	found := verified{OK: true}
	var failed error
	for _, c := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{{"document", v.read}, {"keys", v.open}, {"store", v.store}, {"events", v.events}, {"gateway", v.load}} {
		began := time.Now()
		said, err := c.run(ctx)
		done := backup.Checked{Name: c.name, OK: err == nil, Said: said, Took: time.Since(began)}
		if err != nil {
			done.Said, failed, found.OK = firstLine(err), err, false
		}
		found.Checks = append(found.Checks, done)
		if err != nil {
			break
		}
	}
	a := asker{io: std, json: s.json}
	err = a.print(found, func(w io.Writer) {
		for _, c := range found.Checks {
			verdict := "good: "
			if !c.OK {
				verdict = "BAD: "
			}
			entry(w, c.Name, verdict+tame(c.Said))
		}
	})
	if err != nil {
		return err
	}
	var list mistake.List
	if errors.As(failed, &list) {
		_ = config.Print(std.err, list, terminal(std.err))
		return exit(1)
	}
	return failed
}

// verifying is one serve --verify, step by step.
type verifying struct {
	s   service
	at  places
	log *slog.Logger
	n   *node
	h   *held
	b   *source.Bundle
}

func (v *verifying) close() {
	if v.h != nil {
		_ = v.h.close()
	}
	if v.n != nil {
		v.n.close()
	}
}

func (v *verifying) read(ctx context.Context) (_ string, err error) {
	v.n = newNode(v.at.state, v.log, waf.Load())
	if v.b, err = v.n.open(ctx, v.s.place, v.s.source(v.n, v.at)); err != nil {
		return "", err
	}
	return v.b.File + " is read", nil
}

func (v *verifying) open(ctx context.Context) (string, error) {
	document, err := sectionsIn(v.b.File, v.b.Data, time.Now())
	if err != nil {
		return "", inOrder(mistakesOf(err))
	}
	h, err := opening{places: v.at, document: document, log: v.log, now: time.Now, existing: true}.open(ctx)
	if err != nil {
		return "", err
	}
	v.h = h
	s := h.ring.Status()
	return fmt.Sprintf("installation %s, root key: %s", s.Installation, s.Root.Kind), nil
}

func (v *verifying) store(ctx context.Context) (string, error) { return v.h.checkStore(ctx) }

func (v *verifying) events(ctx context.Context) (string, error) {
	cfg := v.h.document.audit.Default(v.at.state)
	r, err := v.h.verifyOwn(ctx, cfg, true, func(int64, int64, string) {})
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return "", err
	}
	said := fmt.Sprintf("%d follow from each other", r.Entries)
	if r.Entries > 0 && r.Anchored() {
		said += " and from signed checkpoints"
	}
	return said, nil
}

func (v *verifying) load(context.Context) (string, error) {
	return v.h.tryDocument(v.b, v.at.state, v.n.kept.rules)
}
