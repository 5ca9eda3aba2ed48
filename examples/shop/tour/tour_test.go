package main

import (
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/examples/shop/hole"
	"github.com/gatehouse-sec/gatehouse/examples/shop/service"
)

// start opens a shop on free ports in a folder of its own.
func start(t *testing.T) shop {
	t.Helper()
	s, err := service.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	return s.Addresses()
}

// Every good request succeeds and every attack, open ones too, has its effect on the service when nothing stands in front.
func TestDirect(t *testing.T) {
	var steps []step
	w, err := newTour(start(t), nil, "localhost:8443", gatehouse{}, func(s step) { steps = append(steps, s) })
	if err != nil {
		t.Fatal(err)
	}
	claimed, err := w.walk()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if !s.Claimed || s.Direct == nil && s.Note == "" {
			t.Errorf("%s %s %s: %s", s.Part, s.Hole, s.Name, s.Note)
		}
	}
	if want := 2*len(goods()) + len(attacks()) + len(open()); len(steps) != want {
		t.Errorf("%d steps, want %d", len(steps), want)
	}
	if !claimed {
		t.Error("not as claimed")
	}
}

// The issue asks for at least ten good requests that cover all services, and for at least fifteen attacks that are stopped.
func TestEnough(t *testing.T) {
	covered := map[string]bool{}
	for _, g := range goods() {
		covered[g.Service] = true
	}
	for _, name := range service.Names() {
		if !covered[name] {
			t.Errorf("no good request for %s", name)
		}
	}
	guards := map[string]int{}
	for _, a := range attacks() {
		guards[a.Guard]++
		if len(a.Expect) == 0 || a.Guard == "" {
			t.Errorf("%s %s: no guard or no status to expect", a.Hole, a.Name)
		}
	}
	if len(goods()) < 10 || len(attacks()) < 20 {
		t.Errorf("%d good requests and %d attacks", len(goods()), len(attacks()))
	}
	for _, g := range []string{"address", "limits", "rate", "identity", "access", "contract", "waf", "headers", "wire", "canon", "body", "match", "cors"} {
		if guards[g] == 0 {
			t.Errorf("no attack is credited to %s", g)
		}
	}
}

// The list of holes, the README and the attacks say the same.
func TestHolesAgree(t *testing.T) {
	holes, err := hole.All()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	byID, stopped, shown := map[string]hole.Hole{}, map[string]bool{}, map[string]bool{}
	for _, h := range holes {
		if byID[h.ID].ID != "" {
			t.Errorf("%s is listed twice", h.ID)
		}
		byID[h.ID] = h
		closing := strings.Join(h.StoppedBy, ", ")
		if h.Open() {
			closing = "**open** until " + h.OpenUntil
		}
		if line := "| " + strings.Join([]string{h.ID, h.Service, h.What, h.OWASP, closing}, " | ") + " |"; !strings.Contains(string(readme), line) {
			t.Errorf("README lacks the line\n%s", line)
		}
		if h.Open() != (h.OpenUntil != "") {
			t.Errorf("%s: stopped or open, not both and not neither", h.ID)
		}
	}
	for _, a := range attacks() {
		h, ok := byID[a.Hole]
		if !ok || !strings.Contains(strings.Join(h.StoppedBy, " "), a.Guard) || a.Guard == "" {
			t.Errorf("%s %s: credited to %q, the list says %q", a.Hole, a.Name, a.Guard, h.StoppedBy)
		}
		stopped[a.Hole+a.Guard], shown[a.Hole] = true, true
	}
	for _, a := range open() {
		if h, ok := byID[a.Hole]; !ok || !h.Open() || a.Guard != "" {
			t.Errorf("%s %s: toured as open, listed as %q", a.Hole, a.Name, h.StoppedBy)
		}
		shown[a.Hole] = true
	}
	for _, h := range holes {
		if shown[h.ID] == (h.Untoured != "") {
			t.Errorf("%s: toured %v, untoured %q", h.ID, shown[h.ID], h.Untoured)
		}
		for _, g := range h.StoppedBy {
			if h.Untoured == "" && !stopped[h.ID+g] {
				t.Errorf("%s: no attack is credited to %s", h.ID, g)
			}
		}
	}
}
