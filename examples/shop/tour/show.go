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
	width  int // 0: lines may be as long as they like
	part   string
	counts map[string]int // steps as claimed, per part; "wrong" counts the others
}

func newScreen(out *os.File, width int) *screen {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	if !terminal {
		width = 0
	}
	return &screen{out: out, color: terminal && os.Getenv("NO_COLOR") == "", width: width, counts: map[string]int{}}
}

func heading(part string) string {
	switch part {
	case "good":
		return "Good requests"
	case "attack":
		return "Attacks, the same bytes to the service and through the gateway"
	case "open":
		return "Still open: the shape is right, only the meaning is wrong"
	}
	return "Every good request again"
}

// step prints one line.
func (s *screen) step(t step) {
	if t.Part != s.part {
		s.part = t.Part
		fmt.Fprintf(s.out, "\n%s\n", s.paint("1", heading(t.Part)))
	}
	mark := s.paint("32", "✓")
	if t.Part == "open" {
		mark = s.paint("33", "○")
	}
	if !t.Claimed {
		mark = s.paint("31", "✗")
		s.counts["wrong"]++
	} else {
		s.counts[t.Part]++
	}
	line := fmt.Sprintf("%-6s  %-33s", t.Hole, t.Name)
	if strings.HasPrefix(t.Part, "good") {
		line = fmt.Sprintf("%-24s %-10s", t.Name, t.Service)
	}
	if t.Direct != nil {
		line += fmt.Sprintf("  service %3d %-4s", t.Direct.Status, effect(t.Direct))
	}
	if t.Gateway != nil {
		line += fmt.Sprintf("  gateway %3d %s", t.Gateway.Status, s.verdict(t))
	}
	if t.Note != "" {
		line += "  " + s.paint("31", t.Note)
	} else if t.Words != "" {
		line += "  " + s.paint("2", oneLine(t.Words))
	}
	fmt.Fprintln(s.out, " "+mark+" "+s.cut(strings.TrimRight(line, " ")))
}

func (s *screen) verdict(t step) string {
	switch {
	case strings.HasPrefix(t.Part, "good"):
		return ""
	case t.Gateway.Effect:
		return "works"
	case t.Gateway.Status < 400:
		return fmt.Sprintf("%-17s %-8s %s", "without effect", t.Guard, t.Gateway.Event)
	}
	return fmt.Sprintf("%-17s %-8s %s", t.Gateway.Code, t.Guard, t.Gateway.Event)
}

func effect(s *side) string {
	if s.Effect {
		return "done"
	}
	return "-"
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
	c := s.counts
	sum := fmt.Sprintf("%d good requests served, twice · %d attacks as claimed · %d holes still open, as said", c["good again"], c["attack"], c["open"])
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
