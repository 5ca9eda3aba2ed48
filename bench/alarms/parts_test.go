package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
	"github.com/gatehouse-sec/gatehouse/bench/traffic/everyday"
)

// TestPlaces: what counts for the goal is an attack in a text that it can hurt, in one of which nothing is said, or in a value of
// which the schema says what it looks like; and what the contract declares harmless is told apart.
func TestPlaces(t *testing.T) {
	var attacks []traffic.Attack
	for _, class := range []string{"files", "include", "ldap", "nosql", "rfi", "shell", "sqli", "template", "xpath", "xss", "xxe"} {
		for i := range 60 {
			attacks = append(attacks, traffic.Attack{Class: class, Text: fmt.Sprint("an attack, ", class, " ", i)})
		}
	}
	parts, err := hostile(attacks)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := byField()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for at, p := range parts {
		if p.apart != (at == 3) || !p.attack {
			t.Errorf("%s: apart %v, attack %v", p.sum, p.apart, p.attack)
		}
		for _, g := range p.groups {
			for _, shown := range g.shown {
				place, _, _ := strings.Cut(shown, ": ")
				operation, name, _ := strings.Cut(place, " ")
				kind := kinds[everyday.Field{Operation: operation, Name: name}]
				used[place] = true
				hurt := slices.Contains(hurts[kind], g.name)
				if want := map[bool]int{true: 0, false: 3}[hurt]; kind != "unsaid" && kind != "confined" && at != want || kind == "unsaid" && at != 1 || kind == "confined" && at != 2 {
					t.Errorf("%s in %s, which is %s, counts as %q", g.name, place, kind, p.sum)
				}
			}
		}
	}
	for f, kind := range kinds {
		if !used[f.Operation+" "+f.Name] {
			t.Errorf("no attack stands in %v, which is %s", f, kind)
		}
		if kind != "unsaid" && kind != "confined" && hurts[kind] == nil {
			t.Errorf("nothing is said of which attacks hurt %s", kind)
		}
	}
}

// TestBenign: all that must pass is of the half that is asked for.
func TestBenign(t *testing.T) {
	seen := map[string]bool{}
	for _, odd := range []bool{false, true} {
		parts, err := benign("", odd, 34)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts[:2] {
			if p.attack || p.apart || len(p.groups) < 5 {
				t.Errorf("%s: %d lines", p.sum, len(p.groups))
			}
		}
		for _, g := range parts[1].groups {
			for _, shown := range g.shown {
				if seen[shown] {
					t.Errorf("%q is in both halves", shown)
				}
				seen[shown] = true
			}
		}
	}
}

// TestGoal: at most a tenth of the false alarms, at least the detection, and no benign request that the contract refuses.
func TestGoal(t *testing.T) {
	for _, c := range []struct {
		name                          string
		ours, plain, contract         int
		stopped, found, given, missed int
	}{
		{"met", 5, 50, 0, 70, 70, 100, 0},
		{"too many alarms", 6, 50, 0, 70, 70, 100, 1},
		{"one alarm where plain has none", 1, 0, 0, 70, 70, 100, 1},
		{"an attack less", 0, 50, 0, 69, 70, 100, 1},
		{"a request that is not what the contract says", 0, 50, 1, 70, 70, 100, 1},
		{"nothing hostile sent", 5, 50, 0, 0, 0, 0, 0},
	} {
		rivals := []firewall.Rival{{Name: "gatehouse, exact"}, {Name: sinks}, {Name: firewall.Coraza}}
		tb := &table{w: io.Discard, rivals: rivals, sums: []sum{
			{part{sum: "requests"}, 200, []int{50, c.ours, c.plain, c.contract}},
			{part{sum: "others", apart: true}, 200, []int{50, 50, 0, 50}},
			{part{sum: "attacks", attack: true}, c.given, []int{0, c.stopped, c.found, 0}},
			{part{sum: "elsewhere", attack: true, apart: true}, 100, []int{90, 0, 90, 0}},
		}}
		tb.lines = []sum{{part{sum: "sqli"}, c.given, []int{0, c.stopped, c.found, 0}}, {part{sum: "xss"}, 50, []int{0, 50, 20, 0}}}
		if err := tb.goal(); (err != nil) != (c.missed > 0) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
