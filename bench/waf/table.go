package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
)

// printed prints a table for each group, and gives an error that names every wrong verdict.
func printed(w io.Writer, cases []*measured, rivals []firewall.Rival, modes []firewall.Mode) error {
	var wrong []string
	group := ""
	for _, c := range cases {
		if c.Group != group {
			group = c.Group
			fmt.Fprintf(w, "\n| %s | rival | without, CPU ms | added, CPU ms | x coraza | goal | met | verdicts | fast path |\n|---|---|---|---|---|---|---|---|---|\n", group)
		}
		name := c.Name
		if c.kept != len(c.Requests) {
			name += fmt.Sprintf(" (%d of %d)", c.kept, len(c.Requests))
		}
		for _, r := range rivals {
			s, plain := c.seen[r.Name], c.seen[firewall.Coraza]
			if s == nil || len(plain.added) == 0 {
				continue
			}
			if s.lost {
				fmt.Fprintf(w, "| %s | %s | | | | | | %v | |\n", name, r.Name, firewall.ErrLost)
				if r.Name != modsecurity {
					wrong = append(wrong, fmt.Sprintf("%s: %s: %v", c.Name, r.Name, firewall.ErrLost))
				}
				continue
			}
			ours := slices.ContainsFunc(modes, func(m firewall.Mode) bool { return m.Name == r.Name })
			verdict, ok := c.verdict(s, plain)
			if !ok && r.Name != modsecurity {
				wrong = append(wrong, fmt.Sprintf("%s: %s: %s instead of %s", c.Name, r.Name, verdict, c.Verdict))
			}
			if !ok {
				verdict += " **wrong**"
			}
			goal, met := "", ""
			if ours {
				goal, met = c.judged(s, plain)
			}
			fast := ""
			if ours {
				fast = "not told"
				if s.told && s.fast+s.slow > 0 {
					fast = fmt.Sprintf("%.1f %%", 100*s.fast/(s.fast+s.slow))
				}
			}
			fmt.Fprintf(w, "| %s | %s | %.3f | %.3f | %s | %s | %s | %s | %s |\n", name, r.Name, half(s.without), half(s.added), multiple(times(s, plain)), goal, met, verdict, fast)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("wrong verdicts, so the figures mean nothing there:\n  %s", strings.Join(wrong, "\n  "))
	}
	return nil
}

// modsecurity is the one rival with another engine, whose verdicts may differ.
const modsecurity = "nginx+modsecurity"

// verdict tells what the rival said, and whether the case demands it.
func (m *measured) verdict(s, plain *seen) (string, bool) {
	all := map[int]int{}
	sum := 0
	for _, one := range s.status {
		for code, n := range one {
			all[code] += n
			sum += n
		}
	}
	var words []string
	for _, code := range slices.Sorted(maps.Keys(all)) {
		word := fmt.Sprint(code)
		if all[code] != sum {
			word += fmt.Sprintf(" %.0f %%", 100*float64(all[code])/float64(sum))
		}
		words = append(words, word)
	}
	said := strings.Join(words, ", ")
	switch m.Verdict {
	case traffic.Allowed:
		return said, all[http.StatusOK] == sum
	case traffic.Denied:
		return said, all[http.StatusForbidden] == sum
	}
	if s == plain {
		return said, true
	}
	return said, s.asPlain(plain)
}

// asPlain tells that the rival said what plain Coraza said, or refused a request as too dear to judge, which is no way in.
func (s *seen) asPlain(plain *seen) bool {
	said := slices.DeleteFunc(codes(s), func(code int) bool { return code == http.StatusRequestEntityTooLarge })
	return len(said) == 0 || slices.Equal(said, codes(plain))
}

// codes are the statuses that were seen.
func codes(s *seen) []int {
	all := map[int]bool{}
	for _, one := range s.status {
		for code := range one {
			all[code] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// judged tells the goal and whether it is met.
func (m *measured) judged(s, plain *seen) (goal, met string) {
	part := m.Goal.Part
	goal = fmt.Sprintf("<= %.2f x", part)
	if part < 0.5 {
		goal = fmt.Sprintf("<= 1/%.0f", 1/part)
	}
	ok := half(times(s, plain)) <= part
	if m.Goal.Millis > 0 {
		goal = fmt.Sprintf("<= %.2f ms or %s", m.Goal.Millis, goal[3:])
		ok = ok || half(s.added) <= m.Goal.Millis
	}
	if ok {
		return goal, "yes"
	}
	return goal, "**no**"
}

// times are the multiples of what plain Coraza added in the same rounds.
func times(s, plain *seen) []float64 {
	var list []float64
	for i, a := range s.added {
		list = append(list, a/max(plain.added[i], 1e-6))
	}
	return list
}

func multiple(list []float64) string {
	x := half(list)
	if x > 0 && x < 0.2 {
		return fmt.Sprintf("1/%.0f", 1/x)
	}
	return fmt.Sprintf("%.2f", x)
}

// half is the median.
func half(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
