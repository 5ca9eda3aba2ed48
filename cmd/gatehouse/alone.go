package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// alone opens the state for one command, while no gateway runs on it. Unless the command may come first, there must be a
// state: with another user's, or from another folder than the document's, a token would seem to be called back that every
// gateway goes on to take.
func alone(ctx context.Context, io stdio, at places, file string, first bool) (control.Target, func() error, error) {
	if err := at.ours(); err != nil {
		return nil, nil, err
	}
	document, err := sectionsOf(ctx, at, file, time.Now())
	if err != nil {
		return nil, nil, err
	}
	if !first && document.store.IsEmbedded() {
		if err := at.notEmpty(file); err != nil {
			return nil, nil, err
		}
	}
	quiet := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := opening{places: at, document: document, log: quiet, now: time.Now, at: file, unattended: !people(io.err)}.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if h.copies, err = newCopies(h, nil); err != nil {
		return nil, nil, errors.Join(err, h.close())
	}
	tellFirst(io.err, h.first)
	return operations(h, nil), h.close, nil
}

// notEmpty refuses a state directory in which no gateway has ever kept anything.
func (p places) notEmpty(file string) error {
	for _, name := range []string{belongingFile, keyringFile, storeFile} {
		if _, err := os.Lstat(filepath.Join(p.state, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil //nolint:nilerr // something is there; what opens it tells what is wrong with it
		}
	}
	return fmt.Errorf("no gateway runs on the state in %s, and none ever has; run this as the gateway's user, with its XDG_DATA_HOME (and --config, if %s is not its document): "+
		"for the systemd unit: sudo env XDG_DATA_HOME=/var/lib/gatehouse XDG_CONFIG_HOME=/var/lib/gatehouse-key gatehouse ...; nothing was done", p.state, file)
}

// readDocument reads the document at a place, for a command that serves nothing by it. Where the gateway takes signed
// documents only, so does the command.
func readDocument(ctx context.Context, at places, place string) (*source.Bundle, error) {
	keys, err := at.pinned()
	if err != nil {
		return nil, err
	}
	s, err := source.Open(place, source.Options{SignedBy: keys, Floor: source.FloorFile(at.floor())})
	if err != nil {
		return nil, err
	}
	return settled(ctx, func() (*source.Bundle, error) { return s.Read(ctx) })
}

// sectionsOf reads what a document says of how this installation remembers. Without a document the defaults hold, which is
// how gatehouse run keeps its state.
func sectionsOf(ctx context.Context, at places, file string, now time.Time) (remembering, error) {
	b, err := readDocument(ctx, at, file)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, source.ErrUnsigned) {
		b, err = source.Given(file, []byte("{}")), nil
	}
	if err != nil {
		return remembering{}, err
	}
	d, err := config.Parse(b.File, b.Data)
	var m mistake.List
	m.Under("", err)
	if d == nil {
		return remembering{}, m
	}
	r, err := rememberingOf(d, now)
	m.Under("", err)
	return r, m.Err()
}
