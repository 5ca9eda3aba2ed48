package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config/source"
)

// A document whose note has expired stays in force, and one event for each of them says so: a newer one may be kept away.
func TestDocumentExpired(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	signer, verifier, err := source.GenerateKey(rand.Reader, "test")
	if err != nil {
		t.Fatal(err)
	}
	r := prepared(t, listening+plainly+"apis: [{name: a, contract: orders.yaml, to: [\""+server.url()+"\"]}]\n", nil)
	sign := func(version int64, expires time.Time) {
		note, err := source.Sign(r.dir, "gatehouse.yaml", []string{"gatehouse.yaml", "orders.yaml"}, version, expires, signer)
		if err != nil {
			t.Fatal(err)
		}
		r.write("gatehouse.yaml"+source.NoteSuffix, string(note))
	}
	r.from = source.Options{SignedBy: []string{verifier}, Floor: source.FloorFile(filepath.Join(r.dir, "floor"))}
	sign(1, time.Now().Add(time.Hour))
	r.start()
	expired := func() (notes []string) {
		for _, e := range r.events() {
			if e.Decision.Reason == source.ReasonExpired {
				notes = append(notes, e.Note)
			}
		}
		return notes
	}
	if got := expired(); len(got) != 0 {
		t.Errorf("too early: %q", got)
	}
	clock(2*time.Hour)(t, r)
	if note := r.said(source.ReasonExpired); !strings.Contains(note, "the note of version 1 ended on ") {
		t.Errorf("said %q", note)
	}
	q := r.request("GET", "h", "/products", "")
	q.Header.Del("Authorization") // the token has expired too
	if got, err := r.do(q); err != nil || got.status != 200 {
		t.Errorf("what is in force does not serve on: %+v, %v", got, err)
	}
	sign(2, time.Now().Add(3*time.Hour))
	if err := r.node.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock(4*time.Hour)(t, r)
	r.until("the next one is told of as well", func() bool { return len(expired()) == 2 })
	time.Sleep(2 * upkeepEvery)
	if got := expired(); len(got) != 2 {
		t.Errorf("told again: %q", got)
	}
	if !strings.Contains(r.log.String(), "the document has expired") {
		t.Error("the log says nothing")
	}
}

// A start reads a document again that changes while it is read, some times; anything else is told at once.
func TestSettled(t *testing.T) {
	t.Parallel()
	tries := 0
	got, err := settled(t.Context(), func() (int, error) {
		if tries++; tries < 3 {
			return 0, source.ErrChanged
		}
		return 7, nil
	})
	if got != 7 || err != nil || tries != 3 {
		t.Error(got, err, tries)
	}
	if _, err := settled(t.Context(), func() (int, error) { tries++; return 0, fs.ErrNotExist }); !errors.Is(err, fs.ErrNotExist) || tries != 4 {
		t.Error(err, tries)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	if _, err := settled(ctx, func() (int, error) { return 0, source.ErrChanged }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
