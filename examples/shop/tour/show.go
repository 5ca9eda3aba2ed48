package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// screen prints the tour for people: a heading per part, a line per step, color only on a terminal.
type screen struct {
	out    io.Writer
	color  bool
	twice  bool // there is a gateway
	width  int  // 0: lines may be as long as they like
	part   string
	counts map[string]int // steps as claimed, per part; "wrong" counts the others, "untried" those that this machine cannot try

	services []string            // of good requests that wait to be printed, in the order of their first
	served   map[string][]string // their names
}

func newScreen(out *os.File, width int, twice bool) *screen {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	if !terminal {
		width = 0
	}
	return &screen{out: out, twice: twice, color: terminal && os.Getenv("NO_COLOR") == "", width: width, counts: map[string]int{}, served: map[string][]string{}}
}

func heading(part string, twice bool) string {
	switch part {
	case "good":
		return "Good requests"
	case "attack":
		if twice {
			return "Attacks: the same bytes to the service and to the gateway"
		}
		return "Attacks on the services as they stand"
	case "open":
		return "Still open: the shape is right, only the meaning is wrong, and no guard knows the meaning yet"
	}
	return "Every good request again"
}

// step prints one line for an attack. Good requests that went well share a line for each service, at the end of their part.
func (s *screen) step(t step) {
	if t.Part != s.part {
		s.flush()
		s.part = t.Part
		fmt.Fprintf(s.out, "\n%s\n", s.paint("1", heading(t.Part, s.twice)))
	}
	switch {
	case !t.Claimed:
		s.counts["wrong"]++
	case t.Direct == nil && t.Gateway == nil:
		s.counts["untried"]++
	default:
		s.counts[t.Part]++
	}
	if !strings.HasPrefix(t.Part, "good") {
		s.print(s.mark(t), s.attack(t))
		return
	}
	if !t.Claimed {
		s.print(s.mark(t), fmt.Sprintf("%-10s %s: %s", t.Service, t.Name, s.paint("31", t.Note)))
		return
	}
	if _, seen := s.served[t.Service]; !seen {
		s.services = append(s.services, t.Service)
	}
	s.served[t.Service] = append(s.served[t.Service], t.Name)
}

// flush prints the good requests that are waiting.
func (s *screen) flush() {
	for _, service := range s.services {
		names := s.served[service]
		s.print(s.paint("32", "✓"), fmt.Sprintf("%-10s %2d  %s", service, len(names), s.paint("2", strings.Join(names, " · "))))
	}
	s.services, s.served = nil, map[string][]string{}
}

func (s *screen) print(mark, line string) {
	fmt.Fprintln(s.out, " "+mark+" "+s.cut(strings.TrimRight(line, " ")))
}

func (s *screen) mark(t step) string {
	switch {
	case !t.Claimed:
		return s.paint("31", "✗")
	case t.Part == "open":
		return s.paint("33", "○")
	case t.Note != "":
		return s.paint("33", "-")
	}
	return s.paint("32", "✓")
}

func (s *screen) attack(t step) string {
	line := fmt.Sprintf("%-6s  %-34s", t.Hole, t.Name)
	if t.Direct != nil {
		line += fmt.Sprintf("  service %3d %-4s", t.Direct.Status, effect(t.Direct))
	}
	if t.Gateway != nil {
		line += fmt.Sprintf("  gateway %3d %s", t.Gateway.Status, verdict(t))
	}
	switch {
	case t.Note != "":
		return line + "  " + s.paint("33", t.Note)
	case t.Words != "":
		return line + "  " + s.paint("2", essence(t.Words))
	}
	return line
}

func verdict(t step) string {
	switch {
	case t.Gateway.Effect:
		return "works"
	case t.Gateway.Status < 400:
		return fmt.Sprintf("%-18s %-8s %s", "without effect", t.Guard, t.Gateway.Event)
	}
	return fmt.Sprintf("%-18s %-8s %s", t.Gateway.Code, t.Guard, t.Gateway.Event)
}

func effect(s *side) string {
	if s.Effect {
		return "done"
	}
	return "-"
}

// essence takes from explain's lines what a reader of one line needs: the reason, and why.
func essence(words string) string {
	_, decided, found := strings.Cut(words, "denied by ")
	if !found {
		return oneLine(words)
	}
	decided, _, _ = strings.Cut(decided, "\n")
	_, reason, _ := strings.Cut(decided, ": ")
	reason, _, _ = strings.Cut(reason, " (")
	for line := range strings.Lines(words) {
		if label, why, _ := strings.Cut(strings.TrimSpace(line), " "); label == "why" {
			return reason + ": " + oneLine(why)
		}
	}
	return reason
}

// oneLine takes what explain prints and leaves the words, without its layout.
func oneLine(words string) string { return strings.Join(strings.Fields(words), " ") }

// cut shortens a line to the terminal. Escapes have no width, and a cut line ends them.
func (s *screen) cut(line string) string {
	if s.width < 40 {
		return line
	}
	var b strings.Builder
	seen, escape := 0, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		case seen == s.width-5:
			b.WriteString("…")
			if s.color {
				b.WriteString("\x1b[0m")
			}
			return b.String()
		default:
			seen++
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (s *screen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// end prints the sum.
func (s *screen) end() {
	s.flush()
	c := s.counts
	stopped := "stopped, as claimed"
	if !s.twice {
		stopped = "worked, as nothing stands in front"
	}
	sum := fmt.Sprintf("%d good requests served, twice · %d attacks %s · %d holes still open, as said", c["good again"], c["attack"], stopped, c["open"])
	if c["untried"] > 0 {
		sum += fmt.Sprintf(" · %d not tried", c["untried"])
	}
	if c["wrong"] > 0 {
		sum += s.paint("31", fmt.Sprintf(" · %d NOT as claimed", c["wrong"]))
	}
	fmt.Fprintf(s.out, "\n%s\n", sum)
}

// record collects the steps for --json.
type record struct {
	AsClaimed bool   `json:"as_claimed"`
	Steps     []step `json:"steps"`
}

func (r *record) write(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
