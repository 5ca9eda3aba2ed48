package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

// TestNothingIsCut: however long names are, the page is kept and every role, path and reason can be read.
func TestNothingIsCut(t *testing.T) {
	var table pipeline.Table
	var words []string
	for i := range 40 {
		role, path := fmt.Sprintf("role-%02d-%s", i, strings.Repeat("r", i)), fmt.Sprintf("/p%02d/%s", i, strings.Repeat("seg/", i))
		words = append(words, role, fmt.Sprintf("/p%02d/", i))
		table.Rows = append(table.Rows, pipeline.Row{API: "shop", Method: "DELETE", Path: path, Callers: "role " + role + "|" + role + "|other or scope " + role, Input: "params+body (dry run)", WAF: "head only (dry run)", Open: i})
	}
	long := strings.Repeat("a reason of many words, ", 30)
	table.APIs = []pipeline.APIRow{{Name: "shop", Rate: "1/s", Limits: long}}
	table.Risk = []gate.Finding{{ID: "x", API: "shop", What: long, Fix: strings.Repeat("x", 300), Risk: "\x1b[2J" + long}}
	var out bytes.Buffer
	if err := printTable(&out, table, listen.Limits{}.InForce(), false); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > page {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("a document's words can steer the terminal")
	}
	first := strings.Join(strings.Fields(out.String()), "")
	for i, word := range words {
		if !strings.Contains(first, word) && len(word) < 20 {
			t.Errorf("word %d, %s, is not printed whole", i, word)
		}
	}
}

// TestFold: folding loses nothing but spaces at the ends of lines, and ends.
func TestFold(t *testing.T) {
	for _, text := range []string{"", "a", strings.Repeat("ab", 100), strings.Repeat("a b/c|d+e, ", 40), "ä" + strings.Repeat("ö", 99)} {
		for _, width := range []int{4, 7, 40, 200} {
			lines := fold(text, width)
			for _, l := range lines {
				if utf8.RuneCountInString(l) > width {
					t.Errorf("%q is wider than %d", l, width)
				}
			}
			if got, want := strings.Join(strings.Fields(strings.Join(lines, "")), ""), strings.Join(strings.Fields(text), ""); got != want {
				t.Errorf("width %d: %q became %q", width, want, got)
			}
		}
	}
}

func TestPlainDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s", 5 * time.Second: "5s", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", 10 * time.Hour: "10h"} {
		if got := plain(d); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestLifetime(t *testing.T) {
	for text, want := range map[string]time.Duration{"90d": 90 * 24 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "0d": 0} {
		var l lifetime
		if err := l.Set(text); err != nil || time.Duration(l) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(l), err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "90", "99999d", "1d12h"} {
		if err := new(lifetime).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if l := lifetime(90 * 24 * time.Hour); l.String() != "90d" {
		t.Error(l.String())
	}
}
