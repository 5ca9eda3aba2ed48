package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

// page is how wide the table may be, in characters. What does not fit is broken into lines, never cut: a role that is not
// seen is a role that is not reviewed.
const page = 120

// paint holds terminal sequences, empty without colours.
type paint struct{ bold, yellow, red, dim, off string }

func paintFor(color bool) paint {
	if !color {
		return paint{}
	}
	return paint{bold: "\x1b[1m", yellow: "\x1b[33m", red: "\x1b[31m", dim: "\x1b[2m", off: "\x1b[0m"}
}

// printTable prints the protection table: a line for each operation, the bounds that hold for all, what is open with the
// line that closes it, and the risks that were taken knowingly.
func printTable(to io.Writer, t pipeline.Table, connections listen.Limits, color bool) error {
	p, w := paintFor(color), new(bytes.Buffer)
	p.operations(w, t)
	fmt.Fprintln(w)
	bounds(w, t, connections)
	p.findings(w, "Still open", p.yellow, "close it", t.Open)
	p.findings(w, "Risks taken", p.red, "end it", t.Risk)
	p.findings(w, "Notes", p.dim, "instead", t.Notes)
	if len(t.Open) == 0 {
		fmt.Fprintln(w, "\nNothing is open.")
	}
	_, err := w.WriteTo(to)
	return err
}

// operations prints the table itself. Names of APIs stand above their operations when there are several.
func (p paint) operations(w io.Writer, t pipeline.Table) {
	rows := [][]string{{"OPERATION", "CALLERS", "TOKENS", "CONTRACT", "WAF", "OPEN"}}
	for _, r := range t.Rows {
		open := ""
		if r.Open > 0 {
			open = fmt.Sprint(r.Open)
		}
		rows = append(rows, []string{tame(r.Method + " " + r.Path), tame(r.Callers), r.Tokens, r.Input, r.WAF, open})
	}
	widths := columns(rows)
	p.row(w, p.bold, rows[0], widths)
	last := ""
	for i, r := range t.Rows {
		if r.API != last && (len(t.APIs) > 1 || hosts(t, r.API) != "") {
			fmt.Fprintf(w, "\n%s%s%s%s\n", p.dim, tame(r.API), hosts(t, r.API), p.off)
		}
		last = r.API
		color := ""
		if r.Open > 0 {
			color = p.yellow
		}
		p.row(w, color, rows[i+1], widths)
	}
}

func hosts(t pipeline.Table, api string) string {
	for _, a := range t.APIs {
		if a.Name == api && len(a.Hosts) > 0 {
			return " at " + strings.Join(a.Hosts, ", ")
		}
	}
	return ""
}

// columns gives each column the width that it needs, and takes from the widest while the page is too small.
func columns(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	total := 2 * (len(widths) - 1)
	for j := range widths {
		for _, row := range rows {
			widths[j] = max(widths[j], utf8.RuneCountInString(row[j]))
		}
		total += widths[j]
	}
	for ; total > page; total-- {
		widths[slices.Index(widths, slices.Max(widths))]--
	}
	return widths
}

// row prints one row, in as many lines as its longest cell needs.
func (p paint) row(w io.Writer, color string, cells []string, widths []int) {
	parts := make([][]string, len(cells))
	lines := 1
	for j, cell := range cells {
		parts[j] = fold(cell, widths[j])
		lines = max(lines, len(parts[j]))
	}
	for i := range lines {
		var b strings.Builder
		for j := range cells {
			text := ""
			if i < len(parts[j]) {
				text = parts[j][i]
			}
			b.WriteString(text + strings.Repeat(" ", widths[j]+2-utf8.RuneCountInString(text)))
		}
		fmt.Fprintln(w, color+strings.TrimRight(b.String(), " ")+strings.Repeat(p.off, min(1, len(color))))
	}
}

// bounds tells what holds for every request and connection, once for all APIs that have the same.
func bounds(w io.Writer, t pipeline.Table, c listen.Limits) {
	said := func(label string, of func(pipeline.APIRow) string) {
		var values []string
		names := map[string][]string{}
		for _, a := range t.APIs {
			v := of(a)
			if v == "" {
				continue
			}
			if names[v] == nil {
				values = append(values, v)
			}
			names[v] = append(names[v], a.Name)
		}
		for _, v := range values {
			if len(names[v]) < len(t.APIs) {
				entry(w, label, v+"  ("+strings.Join(names[v], ", ")+")")
			} else {
				entry(w, label, v)
			}
		}
	}
	said("rate", func(a pipeline.APIRow) string { return a.Rate })
	said("request", func(a pipeline.APIRow) string { return a.Limits })
	entry(w, "connection", fmt.Sprintf("head %s and %d fields within %s, idle %s, body at %s/s or faster, %d streams; %d for each IPv4 address, %d for each IPv6 /64",
		c.Head, c.Fields, plain(c.HeadTime), plain(c.Idle), c.MinRate, c.Streams, c.PerIPv4, c.PerIPv6))
	said("core rules", func(a pipeline.APIRow) string { return tame(a.CoreRules) })
	said("credential", func(a pipeline.APIRow) string {
		if a.PassesOn {
			return "passed on to the server behind"
		}
		return "stays here; the server behind learns the caller from headers that only Gatehouse sets"
	})
}

// plain writes a duration without units of which there are none: 1m, not 1m0s.
func plain(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// entry prints a label and a text, folded to the page.
func entry(w io.Writer, label, text string) {
	for i, line := range fold(text, page-13) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%-12s %s\n", label, line)
	}
}

// findings groups what says the same of several operations.
func (p paint) findings(w io.Writer, title, color, remedy string, list []gate.Finding) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s%s (%d)%s\n", color, title, len(list), p.off)
	type said struct{ id, what, fix, risk string }
	var order []said
	where, places := map[said][]string{}, map[said]string{}
	for _, f := range list {
		fix, place, _ := strings.Cut(f.Fix, "  # ")
		key := said{f.ID, f.What, fix, f.Risk}
		if where[key] == nil {
			order = append(order, key)
			places[key] = place
			if place == "" {
				places[key] = f.Place
			}
		}
		name := f.API
		if f.Operation != "" {
			name = f.Operation
		}
		where[key] = append(where[key], name)
	}
	for _, s := range order {
		names := where[s]
		shown := strings.Join(names[:min(len(names), 6)], ", ")
		if len(names) > 6 {
			shown += fmt.Sprintf(" and %d more", len(names)-6)
		}
		if shown != "" { // of the whole gateway otherwise
			shown += ": "
		}
		paragraph(w, "  ", shown+s.what, paint{})
		if s.risk != "" {
			paragraph(w, "      accepted: ", s.risk, paint{})
		}
		if s.fix == "" {
			continue
		}
		fix := s.fix
		if place := places[s]; place != "" && !strings.Contains(fix, place) && len(names) == 1 {
			fix += "   at " + place
		}
		paragraph(w, "      "+remedy+": ", fix, p)
	}
}

// paragraph prints text behind a label, folded to the page, dim when there are colours.
func paragraph(w io.Writer, label, text string, p paint) {
	for i, line := range fold(tame(text), page-len(label)) {
		if i > 0 {
			label = strings.Repeat(" ", len(label))
		}
		fmt.Fprintf(w, "%s%s%s%s\n", p.dim, label, line, p.off)
	}
}

// fold breaks text into lines of at most width characters: behind a space, a slash, a bar or a plus where there is one.
func fold(text string, width int) []string {
	var lines []string
	r := []rune(text)
	for len(r) > width {
		end := width
		for i := width; i > width/3; i-- {
			if strings.ContainsRune(" /|+,", r[i-1]) {
				end = i
				break
			}
		}
		lines = append(lines, strings.TrimRight(string(r[:end]), " "))
		r = []rune(strings.TrimLeft(string(r[end:]), " "))
	}
	return append(lines, string(r))
}

// printFields tells of each operation's values how the rules of the WAF look at them.
func printFields(w io.Writer, list []pipeline.Inspected) error {
	if len(list) == 0 {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("\nValues, and the rules of the WAF that look at them. What a contract leaves open is inspected by all.\n")
	for _, op := range list {
		fmt.Fprintf(&b, "\n%s %s  (%s, %s)\n", op.Method, tame(op.Path), tame(op.API), tame(op.Operation))
		if op.All != "" {
			fmt.Fprintf(&b, "  inspected by all rules: %s\n", op.All)
			continue
		}
		if len(op.Fields) == 0 {
			b.WriteString("  no values\n")
			continue
		}
		rows := [][]string{}
		for _, f := range op.Fields {
			why := f.Why
			if f.Sink != "" {
				why += "; goes to " + f.Sink
			}
			rows = append(rows, []string{tame(f.In + " " + f.Name), f.Inspection, tame(why)})
		}
		widths := columns(rows)
		for _, row := range rows {
			paint{}.row(&b, "", append([]string{"  " + row[0]}, row[1:]...), append([]int{widths[0] + 2}, widths[1:]...))
		}
	}
	_, err := b.WriteTo(w)
	return err
}
