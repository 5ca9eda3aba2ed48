package main

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/secret"
	owned "github.com/gatehouse-sec/gatehouse/secret/kept"
)

func found(h *held, t *testing.T) string {
	t.Helper()
	s, err := h.status(t.Context(), nothing{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(s.Findings, "\n")
}

// A secret that ended is named, and its value is not.
func TestStatusTellsOfEndedSecrets(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	o := opening{places: places{state: t.TempDir(), config: t.TempDir()}, log: slog.New(slog.DiscardHandler), now: now}
	o.document.fleet = o.document.fleet.WithDefaults(nil)
	h, err := o.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.close() })
	go h.secrets.Run(t.Context())
	if _, err := h.kept.Set(t.Context(), "shop/key", []byte("canary-hunter2"), owned.Any, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := h.kept.MayRead(t.Context(), "shop/key", []string{"backup"}); err != nil {
		t.Fatal(err)
	}
	var ref secret.Ref
	if err := ref.UnmarshalText([]byte("store:shop/key")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.secrets.Live(t.Context(), ref, "backup"); err != nil {
		t.Fatal(err)
	}
	if got := found(h, t); strings.Contains(got, "has ended") {
		t.Error(got)
	}
	if err := h.kept.Remove(t.Context(), "shop/key", 0, owned.Any, "ann"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		h.secrets.Refresh(secret.Kept)
		ahead.Add(int64(5 * time.Second))
		got := found(h, t)
		if strings.Contains(got, "canary") {
			t.Fatal("the value is told")
		}
		if strings.Contains(got, "the secret store:shop/key has ended") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s %+v", got, h.secrets.Statuses())
		}
	}
}

// While the store is away, what the node knows of itself is told all the same; so is a log that can't be written.
func TestStatusWithoutTheStore(t *testing.T) {
	h := openedForTest(t)
	say := func() fleet.Report { return fleet.Report{Document: fleet.Document{Hash: "a", Refused: "a mistake"}} }
	h.report.Store(&say)
	h.copies.n = &node{} // which has no log
	if err := h.file.Close(); err != nil {
		t.Fatal(err)
	}
	got := found(h, t)
	for _, want := range []string{"the other nodes and the jobs are not known", "is not ready", "has refused a newer document: a mistake", "the event log can't be written"} {
		if !strings.Contains(got, want) {
			t.Errorf("not told: %s\n%s", want, got)
		}
	}
}

func TestStatusTellsOfBackups(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	made := func(ago time.Duration, proof *backup.Proof) backup.Entry {
		return backup.Entry{Name: ago.String(), Time: now.Add(-ago), Proof: proof, Delivered: now.Add(-ago)}
	}
	good, bad := &backup.Proof{OK: true}, &backup.Proof{Flaw: &backup.Flaw{What: "a bit"}}
	for name, c := range map[string]struct {
		entries  []backup.Entry
		unproven bool
		since    time.Duration
		want     []string
	}{
		"none yet":        {nil, false, time.Hour, nil},
		"none at all":     {nil, false, 49 * time.Hour, []string{"no backup since"}},
		"good":            {[]backup.Entry{made(time.Hour, good)}, false, 99 * time.Hour, nil},
		"being made":      {[]backup.Entry{made(25*time.Hour, good), made(time.Hour, nil)}, false, 99 * time.Hour, nil},
		"old":             {[]backup.Entry{made(50*time.Hour, good), made(time.Hour, nil)}, false, time.Hour, []string{"was proven"}},
		"never proven":    {[]backup.Entry{made(50*time.Hour, nil)}, false, time.Hour, []string{"was proven"}},
		"bad":             {[]backup.Entry{made(25*time.Hour, good), made(time.Hour, bad)}, false, time.Hour, []string{"1h0m0s: a bit"}},
		"bad before":      {[]backup.Entry{made(25*time.Hour, bad), made(time.Hour, good)}, false, time.Hour, nil},
		"not to be":       {[]backup.Entry{made(time.Hour, nil)}, true, 99 * time.Hour, nil},
		"not to be, late": {[]backup.Entry{made(50*time.Hour, nil)}, true, time.Hour, []string{"has reached its place"}},
	} {
		got := backupFindings(c.entries, 24*time.Hour, !c.unproven, now.Add(-c.since), now)
		if len(got) != len(c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	}
}
