package source

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o700))
	must(t, os.WriteFile(file, []byte(text), 0o600))
}

func open(t testing.TB, place string, opt Options) *Source {
	t.Helper()
	s, err := Open(place, opt)
	must(t, err)
	return s
}

// both reads the document and the contract beside it.
func both(s *Source, contract string) (document, other string, err error) {
	b, err := s.Read(context.Background())
	if err != nil {
		return "", "", err
	}
	path := filepath.Join(filepath.Dir(b.File), contract)
	data, err := b.ReadFile(path, path)
	if err != nil {
		return "", "", err
	}
	return string(b.Data), string(data), b.Accept(context.Background())
}

// changed waits for a change, for a while.
func changed(s *Source, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Wait(ctx) == nil
}

// unchanged waits until the source was looked at often enough, and tells whether it has found no change by then.
func unchanged(s *Source, enough func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() {
		for !enough() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	return s.Wait(ctx) != nil && enough()
}

// memory is a Floor.
type memory struct {
	mu   sync.Mutex
	mark Mark
	err  error
}

func (m *memory) Highest(context.Context) (Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark, m.err
}

func (m *memory) Raise(_ context.Context, to Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if err := to.above(m.mark); err != nil {
		return err
	}
	m.mark = to
	return nil
}

func key(t testing.TB, name string) (signer, verifier string) {
	t.Helper()
	signer, verifier, err := GenerateKey(rand.Reader, name)
	must(t, err)
	return signer, verifier
}

// wants fails unless err holds every word.
func wants(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v\nsays nothing of %q", err, w)
		}
	}
}
