package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/gate"
)

func explainCommand(std stdio) *cobra.Command {
	var directory string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain ID",
		Short: "Tell what was decided about a request, and why",
		Long: `Tell what was decided about a request, and why: by which guard and rule, where in the contract, which (masked) bytes,
and the narrowest exception that would have let it pass. ID is the event in the answer that the client got.`,
		Example: `  gatehouse explain 01K5V8Q2ZJX3M9T7WBQ4RNE0AF
  gatehouse explain --events /var/lib/gatehouse/events 01K5V8Q2ZJX3M9T7WBQ4RNE0AF --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if directory == "" {
				state, err := stateDirectory()
				if err != nil {
					return err
				}
				directory = filepath.Join(state, "events")
			}
			e, err := audit.Find(directory, strings.TrimSpace(args[0]))
			if errors.Is(err, audit.ErrNoEvent) {
				return fmt.Errorf("no event %q in %s; the id stands in the answer as \"event\"; other logs: --events DIRECTORY", tame(args[0]), directory)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(std.out).Encode(e)
			}
			explain(std.out, e)
			return nil
		},
	}
	c.Flags().StringVar(&directory, "events", "", "directory of the event log (default: events in the state directory)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the event as JSON")
	return c
}

// explain writes an event for a person. Lines without content are left out.
func explain(w io.Writer, e gate.Event) {
	d := e.Decision
	line := func(label, text string, args ...any) {
		if text = tame(fmt.Sprintf(text, args...)); text != "" {
			fmt.Fprintf(w, "  %-11s %s\n", label, text)
		}
	}
	verdict := "allowed"
	if d.Verdict == "deny" {
		verdict = fmt.Sprintf("denied by %s: %s (%s)", d.Guard, d.Reason, d.Code)
	}
	fmt.Fprintf(w, "%s %s\n", tame(e.ID), tame(verdict))
	line("when", "%s", e.Time.Format(time.RFC3339Nano))
	line("request", "%s", asked(e))
	for _, p := range e.Request.Params {
		line("  "+p.In, "%s = %s", p.Name, p.Value)
	}
	line("from", "%s", caller(e.From))
	line("why", "%s", d.Detail)
	line("rule", "%s", d.Rule)
	line("bytes", "%s", d.Shown)
	line("to allow", "%s", d.Fix)
	for _, w := range d.DryRun {
		line("dry run", "%s would have denied: %s %s", w.Guard, w.Reason, w.Detail)
	}
	if e.Result.Status > 0 {
		line("answer", "%d in %s", e.Result.Status, time.Duration(e.Result.Micros)*time.Microsecond)
	}
	if e.Result.Server != "" {
		line("server", "%s, %d attempt(s), first byte after %s", e.Result.Server, e.Result.Attempts, time.Duration(e.Result.Upstream)*time.Microsecond)
	}
	line("note", "%s", e.Note)
	line("policy", "%s", d.Policy)
}

func asked(e gate.Event) string {
	r := e.Request
	if r.Method == "" {
		return ""
	}
	text := r.Method + " " + r.Host
	if r.Operation != "" {
		text += r.Template + "  (" + r.API + ", " + r.Operation + ")"
	}
	return text
}

func caller(f gate.From) string {
	text := f.Address
	if f.Peer != "" {
		text += " through " + f.Peer
	}
	if f.Subject != "" {
		text += ", " + f.Subject + " of " + f.Issuer
	}
	if len(f.Roles) > 0 {
		text += ", roles " + strings.Join(f.Roles, " ")
	}
	return text
}

// tame replaces what a terminal would obey: an event repeats words of whoever attacked.
func tame(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != ' ' {
			return '·'
		}
		return r
	}, s)
}
