package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

// printTable prints the protection table: a line for each operation, then what is open with the line that closes it, then
// the risks that were taken knowingly.
func printTable(w io.Writer, t pipeline.Table, color bool) {
	bold, yellow, dim, off := "", "", "", ""
	if color {
		bold, yellow, dim, off = "\x1b[1m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
	}
	rows := [][]string{{"OPERATION", "CALLERS", "INPUT", "WAF", "RATE", "OPEN"}}
	for _, r := range t.Rows {
		open := ""
		if r.Open > 0 {
			open = fmt.Sprint(r.Open)
		}
		rows = append(rows, []string{r.Method + " " + r.Path, r.Callers, r.Input, r.WAF, r.Rate, open})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], min(utf8.RuneCountInString(cell), 48))
		}
	}
	for i, row := range rows {
		var b strings.Builder
		for j, cell := range row {
			b.WriteString(pad(short(cell, 48), widths[j]+2))
		}
		line := strings.TrimRight(b.String(), " ")
		if i == 0 {
			line = bold + line + off
		}
		fmt.Fprintln(w, line)
	}
	printFindings(w, "Still open", t.Open, yellow, dim, off)
	printFindings(w, "Risks taken", t.Risk, dim, dim, off)
}

// printFindings groups findings that say the same of several operations.
func printFindings(w io.Writer, title string, list []gate.Finding, color, dim, off string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s%s (%d)%s\n", color, title, len(list), off)
	type said struct{ id, what, fix, risk string }
	var order []said
	where := map[said][]string{}
	for _, f := range list {
		fix, _, _ := strings.Cut(f.Fix, "  #")
		key := said{f.ID, f.What, fix, f.Risk}
		if where[key] == nil {
			order = append(order, key)
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
		fmt.Fprintf(w, "  %s: %s\n", shown, s.what)
		if s.risk != "" {
			fmt.Fprintf(w, "      %saccepted: %s%s\n", dim, s.risk, off)
		}
		if s.fix != "" {
			fmt.Fprintf(w, "      %sclose it: %s%s\n", dim, s.fix, off)
		}
	}
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func short(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}
