package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-sec/gatehouse/config/source"
)

// Row I11: what a contract refers to lies in its folder, and links lead nowhere else.
func TestAContractReadsItsFolderOnly(t *testing.T) {
	outside, folder := t.TempDir(), t.TempDir()
	write := func(file string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "secret.yaml"))
	write(filepath.Join(outside, "api.yaml"))
	write(filepath.Join(folder, "parts/a.yaml"))
	link("parts/a.yaml", "inside.yaml")
	link("parts", "linked")
	link(filepath.Join(outside, "secret.yaml"), "absolute.yaml")
	link("../"+filepath.Base(outside)+"/secret.yaml", "relative.yaml")
	link(outside, "folder")
	link("/dev/zero", "endless.yaml")
	link("loop.yaml", "loop.yaml")
	link(filepath.Join(outside, "api.yaml"), "api.yaml") // the contract itself: the operator named it
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	contract := filepath.Join(folder, "api.yaml")
	for name, good := range map[string]bool{
		"api.yaml": true, "parts/a.yaml": true, "inside.yaml": true, "linked/a.yaml": true,
		"absolute.yaml": false, "relative.yaml": false, "folder/secret.yaml": false, "endless.yaml": false, "loop.yaml": false,
		"pipe.yaml": false, "parts": false, "missing.yaml": false, "../" + filepath.Base(outside) + "/secret.yaml": false,
	} {
		data, err := source.Given(filepath.Join(folder, "gatehouse.yaml"), nil).ReadFile(contract, filepath.Join(folder, name))
		if good && (err != nil || string(data) != "text") || !good && err == nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		if err != nil && strings.Contains(string(data), "text") {
			t.Errorf("%s: %q", name, data)
		}
	}
}
