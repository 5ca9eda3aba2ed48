package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
)

// table prints what each server denies, and remembers the sums that the goal is about.
type table struct {
	w       io.Writer
	list    bool
	rivals  []firewall.Rival
	servers []*firewall.Server
	sums    []sum
	lines   []sum // of attacks that count for the goal
}

type sum struct {
	part   part
	number int
	denied []int
}

func (t *table) head() {
	fmt.Fprint(t.w, "| what | number |")
	for _, r := range t.rivals {
		fmt.Fprintf(t.w, " %s |", r.Name)
	}
	fmt.Fprintf(t.w, " gatehouse without its WAF |\n|---|---%s|---|\n", strings.Repeat("|---", len(t.rivals)))
}

func (t *table) send(p part) error {
	all := sum{part: p, denied: make([]int, len(t.servers))}
	for _, g := range p.groups {
		said, err := firewall.Ask(t.servers, g.requests)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		denied := make([]int, len(t.servers))
		for i, statuses := range said {
			for k, status := range statuses {
				if status != http.StatusOK {
					denied[k]++
				}
				if t.list && k < len(t.rivals) && (status == http.StatusOK) == p.attack {
					fmt.Fprintf(os.Stderr, "%s|%s|%s|%d|%.300q\n", t.rivals[k].Name, p.sum, g.name, status, g.shown[i])
				}
			}
		}
		t.line(g.name, len(said), denied)
		if p.attack && !p.apart {
			t.lines = append(t.lines, sum{part{sum: g.name + " " + p.sum}, len(said), denied})
		}
		all.number += len(said)
		for k, n := range denied {
			all.denied[k] += n
		}
	}
	t.line("**"+p.sum+"**", all.number, all.denied)
	t.sums = append(t.sums, all)
	return nil
}

func (t *table) line(name string, n int, denied []int) {
	fmt.Fprintf(t.w, "| %s | %d |", name, n)
	for _, d := range denied {
		fmt.Fprintf(t.w, " %d (%.1f %%) |", d, 100*float64(d)/float64(n))
	}
	fmt.Fprintln(t.w)
}

// goal tells whether the mode with sinks has at most a tenth of plain Coraza's false alarms, and at least its detection in each line; and
// whether the contract takes all benign requests, without which nothing here is worth anything.
func (t *table) goal() error {
	at := func(name string) int {
		return slices.IndexFunc(t.rivals, func(r firewall.Rival) bool { return r.Name == name })
	}
	ours, plain := at(sinks), at(firewall.Coraza)
	var missed error
	fmt.Fprintln(t.w)
	for _, s := range t.sums {
		if s.part.attack || s.part.apart {
			continue
		}
		ok := 10*s.denied[ours] <= s.denied[plain]
		fmt.Fprintf(t.w, "False alarms, %s: %d, plain Coraza %d; at most a tenth: %v.\n", s.part.sum, s.denied[ours], s.denied[plain], ok)
		if !ok {
			missed = errors.Join(missed, fmt.Errorf("more than a tenth of plain Coraza's false alarms on %s", s.part.sum))
		}
		if n := s.denied[len(t.rivals)]; n > 0 {
			missed = errors.Join(missed, fmt.Errorf("the contract refuses %d benign %s", n, s.part.sum))
		}
	}
	found, stopped, number := 0, 0, 0
	for _, s := range t.lines {
		number, found, stopped = number+s.number, found+s.denied[plain], stopped+s.denied[ours]
		if s.denied[ours] < s.denied[plain] {
			missed = errors.Join(missed, fmt.Errorf("%d attacks are denied and %d by plain Coraza: %s", s.denied[ours], s.denied[plain], s.part.sum))
		}
	}
	if number > 0 {
		fmt.Fprintf(t.w, "Detection: %d of %d, plain Coraza %d.\n", stopped, number, found)
	}
	return missed
}
