package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The command says when it is ready, and ends when it is told to.
func TestReady(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	args := []string{"--data", dir}
	for _, name := range []string{"catalogue", "orders", "paycard", "paybank", "logistics", "invoice", "control"} {
		args = append(args, "--"+name, "127.0.0.1:0")
	}
	go func() { ended <- run(ctx, args, w); w.Close() }()
	lines := 0
	for s := bufio.NewScanner(r); s.Scan(); lines++ {
		if s.Text() == "ready" {
			break
		}
	}
	if lines != 6 {
		t.Errorf("%d lines before ready, want 6", lines)
	}
	if _, err := os.Stat(filepath.Join(dir, "addresses.json")); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Wrong uses.
func TestRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"no data folder": nil,
		"unknown flag":   {"--data", t.TempDir(), "--catalog", "127.0.0.1:0"},
		"not loopback":   {"--data", t.TempDir(), "--orders", "0.0.0.0:0"},
	} {
		if err := run(context.Background(), args, io.Discard); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
