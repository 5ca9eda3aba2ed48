package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// A command that reads the document itself takes no other than the gateway would: neither an unsigned one nor, once a newer
// was accepted, an older.
func TestCommandsTakeSignedDocumentsOnly(t *testing.T) {
	dir := t.TempDir()
	at := places{state: filepath.Join(dir, "state")}
	if err := os.MkdirAll(at.state, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "gatehouse.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signer, verifier, err := source.GenerateKey(random(), "test")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text string, version int64) {
		t.Helper()
		write(file, text)
		note, err := source.Sign(dir, "gatehouse.yaml", []string{"gatehouse.yaml"}, version, time.Now().Add(time.Hour), signer)
		if err != nil {
			t.Fatal(err)
		}
		write(file+source.NoteSuffix, string(note))
	}
	read := func() error {
		_, err := readDocument(t.Context(), at, file)
		return err
	}
	write(file, "key: {root: tpm}\n")
	if err := read(); err != nil {
		t.Errorf("nobody signs here: %v", err)
	}
	if err := at.pin([]string{verifier}); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, source.ErrUnsigned) {
		t.Errorf("without a note: %v", err)
	}
	sign("fleet: {name: a}\n", 2)
	if err := read(); err != nil {
		t.Errorf("signed: %v", err)
	}
	write(file, "key: {root: tpm}\n")
	if err := read(); !errors.Is(err, source.ErrDiffers) {
		t.Errorf("another than was signed: %v", err)
	}
	if err := source.FloorFile(at.floor()).Raise(t.Context(), source.Mark{Version: 3, Digest: strings.Repeat("a", 64)}); err != nil {
		t.Fatal(err)
	}
	sign("fleet: {name: a}\n", 2)
	if err := read(); !errors.Is(err, source.ErrReplayed) {
		t.Errorf("an older one: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file + source.NoteSuffix); err != nil {
		t.Fatal(err)
	}
	if _, err := sectionsOf(t.Context(), at, file, time.Now()); err == nil {
		t.Error("no document at all is taken for one without sections")
	}
	if err := at.pin(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sectionsOf(t.Context(), at, file, time.Now()); err != nil {
		t.Errorf("nobody signs any more: %v", err)
	}
	write(filepath.Join(at.state, pinnedFile), "?")
	if err := read(); err == nil || errors.As(err, new(mistake.List)) || !strings.Contains(err.Error(), "--signed-by") {
		t.Errorf("a damaged memory: %v", err)
	}
}
