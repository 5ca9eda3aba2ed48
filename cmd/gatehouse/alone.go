package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// alone opens the state for one command, while no gateway runs on it.
func alone(ctx context.Context, io stdio, at places, file string) (control.Target, func() error, error) {
	document, err := sectionsOf(ctx, file, time.Now())
	if err != nil {
		return nil, nil, err
	}
	quiet := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := opening{places: at, document: document, log: quiet, now: time.Now, file: file}.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if h.copies, err = newCopies(h, nil); err != nil {
		return nil, nil, errors.Join(err, h.close())
	}
	tellFirst(io.err, h.first)
	return operations(h, nil), h.close, nil
}

// readDocument reads the document at a place, for a command that serves nothing by it.
func readDocument(ctx context.Context, place string) (*source.Bundle, error) {
	s, err := source.Open(place, source.Options{})
	if err != nil {
		return nil, err
	}
	return settled(ctx, func() (*source.Bundle, error) { return s.Read(ctx) })
}

// sectionsOf reads what a document says of how this installation remembers. Without a document the defaults hold, which is
// how gatehouse run keeps its state.
func sectionsOf(ctx context.Context, file string, now time.Time) (remembering, error) {
	b, err := readDocument(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
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
