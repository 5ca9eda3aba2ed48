package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// alone opens the state for one command, while no gateway runs on it.
func alone(ctx context.Context, io stdio, at places, file string) (control.Target, func() error, error) {
	document, err := sectionsOf(file, time.Now())
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

// sectionsOf reads what a document says of how this installation remembers. Without a document the defaults hold, which is
// how gatehouse run keeps its state.
func sectionsOf(file string, now time.Time) (remembering, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte("{}"), nil
	}
	if err != nil {
		return remembering{}, err
	}
	d, err := config.Parse(file, data)
	var m mistake.List
	m.Under("", err)
	if d == nil {
		return remembering{}, m
	}
	r, err := rememberingOf(d, now)
	m.Under("", err)
	return r, m.Err()
}
