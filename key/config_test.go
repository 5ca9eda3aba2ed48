package key_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func TestSection(t *testing.T) {
	for text, want := range map[string]string{
		"key: {}":                             "own",
		"key: {root: tpm}":                    "tpm",
		"key: {root: credential}":             "credential",
		"key: {root: \"file:/a\"}":            "file",
		"key: {root: \"passphrase:file:/a\"}": "passphrase",
		"key: {root: {tpm: {pcrs: [7]}}}":     "tpm",
		"key: {root: {file: \"env:A\"}}":      "file",
		"key: {root: {passphrase: {from: \"file:/a\", memory: 128MiB, time: 4}}}":                  "passphrase",
		"key: {root: {shares: {threshold: 3, of: 5}}}":                                             "shares",
		"key: {root: {transit: {address: \"https://bao:8200\", key: k, token: \"file:/t\"}}}":      "transit",
		"key: {root: {transit: {address: \"http://127.0.0.1:8100\", key: k, token: \"file:/t\"}}}": "transit",
	} {
		doc, err := config.Parse("gatehouse.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		cfg, _, err := config.Section[key.Config](doc, "key")
		if err == nil {
			err = cfg.Check()
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		root, err := key.NewRoot(cfg, "a", key.Options{ConfigDir: t.TempDir()})
		if err != nil || root.Describe().Kind != want {
			t.Errorf("%s: %v %v", text, root, err)
		}
	}
}

func TestMistakesAreAllTold(t *testing.T) {
	for name, c := range map[string]struct {
		choice key.Choice
		paths  string
	}{
		"two kinds":   {key.Choice{TPM: &key.TPM{}, Credential: "a"}, "root"},
		"credential":  {key.Choice{Credential: "../a"}, "root.credential"},
		"passphrase":  {key.Choice{Passphrase: &key.Passphrase{Memory: 1, Time: -1}}, "root.passphrase.from root.passphrase.memory root.passphrase.time"},
		"much memory": {key.Choice{Passphrase: &key.Passphrase{From: ref(t, "file:/a"), Memory: 5 << 30}}, "root.passphrase.memory"},
		"pcrs":        {key.Choice{TPM: &key.TPM{PCRs: []int{7, 24, -1, 7}}}, "root.tpm.pcrs[1] root.tpm.pcrs[2] root.tpm.pcrs[3]"},
		"transit":     {key.Choice{Transit: &key.Transit{Timeout: -1}}, "root.transit.address root.transit.key root.transit.token root.transit.timeout"},
		"plain":       {key.Choice{Transit: &key.Transit{Address: "http://bao:8200", Key: "k", Token: ref(t, "file:/t")}}, "root.transit.address"},
		"password in": {key.Choice{Transit: &key.Transit{Address: "https://a:b@bao:8200", Key: "k", Token: ref(t, "file:/t")}}, "root.transit.address"},
		"odd paths":   {key.Choice{Transit: &key.Transit{Address: "https://bao", Key: "../sys", Mount: "a/../b", Token: ref(t, "file:/t")}}, "root.transit.key root.transit.mount"},
		"one share":   {key.Choice{Shares: &key.Shares{Threshold: 1, Of: 0}}, "root.shares.threshold root.shares.of"},
		"many shares": {key.Choice{Shares: &key.Shares{Threshold: 3, Of: 99}}, "root.shares.of"},
	} {
		err := key.Config{Root: c.choice}.Check()
		list, ok := err.(mistake.List)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var paths []string
		for _, m := range list {
			paths = append(paths, m.Path)
		}
		if strings.Join(paths, " ") != c.paths {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := key.NewRoot(key.Config{Root: c.choice}, "a", key.Options{}); err == nil {
			t.Errorf("%s: a root was made", name)
		}
		if _, _, err := key.Open(t.Context(), key.Config{Root: c.choice}, key.Options{}); err == nil {
			t.Errorf("%s: it was opened", name)
		}
	}
}

func TestFindings(t *testing.T) {
	h := newHouse(t)
	r, _ := h.open(t, key.Config{})
	f := r.Findings(filepath.Join(h.dir, "not", "yet", "there"))
	if len(f) != 1 || f[0].ID != "key.same_disk" || f[0].Fix == "" || !strings.Contains(f[0].What, h.configDir) {
		t.Errorf("%+v", f)
	}
	file := r.Status().Root.File
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if f := r.Findings(h.dir); len(f) != 2 || f[1].ID != "key.readable" || f[1].Fix != "chmod 600 "+file {
		t.Errorf("for all to read: %+v", f)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/dev/shm"); err != nil {
		return // not everywhere
	}
	other, err := os.MkdirTemp("/dev/shm", "gatehouse")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	if f := r.Findings(other); len(f) != 0 {
		t.Errorf("another disk: %+v", f)
	}
	cfg := choice(t, "tpm")
	cfg.Root.TPM.Device = startTPM(t)
	h = newHouse(t)
	r, _ = h.open(t, cfg)
	if f := r.Findings(h.dir); len(f) != 0 {
		t.Errorf("TPM: %+v", f)
	}
}

// FuzzChoice: a short form that is taken makes one kind and no mistakes but those of its values; no error repeats it.
func FuzzChoice(f *testing.F) {
	for _, s := range []string{"tpm", "credential", "credential:a", "file:/a", "env:A", "passphrase:file:/a", "tpm:", "hunter2hunter2", ":", "passphrase:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c key.Choice
		if err := c.UnmarshalText([]byte(text)); err != nil {
			if !c.IsZero() {
				t.Errorf("%q was refused and taken", text)
			}
			if len(text) > 20 && strings.Contains(err.Error(), text) && !strings.Contains("tpm, credential, credential:NAME, file:/path, env:NAME or passphrase:file:/path", text) {
				t.Errorf("%q is repeated", text)
			}
			return
		}
		if c.IsZero() {
			t.Errorf("%q names no root", text)
		}
		_ = key.Config{Root: c}.Check()
	})
}

// FuzzKeyring: whatever lies where the keyring should be, it is told and never opened, and never touched.
func FuzzKeyring(f *testing.F) {
	f.Add([]byte(`{"format": 1}`))
	f.Add([]byte(`{"format":1,"installation":"a","generation":1,"root":{"kind":"key","data":"AA=="},"purposes":[{"purpose":"a","keys":[{"version":1,"created":"2026-01-01T00:00:00Z","key":"AA=="}]}],"mac":"","sum":""}`))
	f.Add([]byte("null\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, form := range [][]byte{data, key.Resum(data)} {
			if form == nil {
				continue
			}
			s := &shelf{data: form, version: 1}
			o := key.Options{Place: s, Exists: func(context.Context) (bool, error) { return false, nil }, Purposes: purposes, ConfigDir: "/nowhere", Now: time.Now, Rand: rand.Reader}
			if _, _, err := key.Open(t.Context(), key.Config{}, o); err == nil || s.saves != 0 {
				t.Errorf("it opens, or something was made: %v", err)
			}
		}
	})
}

// FuzzShare: a collector that waits takes its own shares only.
func FuzzShare(f *testing.F) {
	f.Add("ghs1-00000000-1-0000000000000000000000000000000000000000000000000000000000000000-00000000")
	f.Add(key.ShareText())
	f.Add("ghs1-")
	f.Fuzz(func(t *testing.T, text string) { key.CheckShareForm(t, text) })
}

// Options without a place, or without an answer to whether a store exists, make nothing.
func TestOptionsAreNeeded(t *testing.T) {
	full := newHouse(t).options()
	for name, lack := range map[string]func(o *key.Options){
		"place": func(o *key.Options) { o.Place = nil }, "exists": func(o *key.Options) { o.Exists = nil }, "now": func(o *key.Options) { o.Now = nil }, "rand": func(o *key.Options) { o.Rand = nil },
		"a purpose's name": func(o *key.Options) { o.Purposes = []string{"Not A Name"} },
	} {
		o := full
		lack(&o)
		if r, _, err := key.Open(t.Context(), key.Config{}, o); err == nil || r != nil {
			t.Errorf("opened without %s", name)
		}
	}
}

// The status says nothing that opens anything.
func TestStatusHoldsNoSecret(t *testing.T) {
	h := newHouse(t)
	r, first := h.open(t, key.Config{})
	data, err := json.Marshal(r.Status())
	if err != nil {
		t.Fatal(err)
	}
	root, _ := os.ReadFile(rootKeys(t, h)[0])
	for _, secretText := range []string{strings.TrimSpace(string(root)), string(first.Words.Reveal())} {
		if strings.Contains(string(data), secretText) {
			t.Errorf("%s", data)
		}
	}
}
