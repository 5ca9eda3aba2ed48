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
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("which event? add the one id that stands in the answer as \"event\"")
			}
			return nil
		},
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
			entry(w, "  "+label, text)
		}
	}
	fmt.Fprintf(w, "%s %s\n", tame(e.ID), tame(verdict(e)))
	line("when", "%s", e.Time.UTC().Format("2006-01-02 15:04:05.000 UTC"))
	line("request", "%s", asked(e))
	for _, p := range e.Request.Params {
		line("  "+p.In, "%s = %s", p.Name, p.Value)
	}
	for _, p := range e.Request.Removed {
		line("  removed", "%s, which only Gatehouse may set", p.Name)
	}
	line("from", "%s", caller(e.From))
	line("contract", "%s", e.Request.Pointer)
	line("why", "%s", d.Detail)
	line("rule", "%s", d.Rule)
	line("bytes", "%s", d.Shown)
	if d.Verdict == "deny" {
		remedy(line, d)
	}
	for _, w := range d.DryRun {
		line("dry run", "%s would have denied: %s (%s): %s", w.Guard, w.Reason, w.Code, w.Detail)
	}
	if e.Result.Status > 0 {
		line("answer", "%d after %s", e.Result.Status, time.Duration(e.Result.Micros)*time.Microsecond)
	}
	if e.Result.Server != "" {
		line("server", "%s, %s, first byte after %s", e.Result.Server, count(e.Result.Attempts, "attempt"), time.Duration(e.Result.Upstream)*time.Microsecond)
	}
	line("note", "%s", e.Note)
	line("belongs to", "%s", e.Of)
	line("policy", "%s", d.Policy)
}

func verdict(e gate.Event) string {
	d := e.Decision
	switch {
	case d.Verdict == "deny" && d.Code == "":
		return fmt.Sprintf("refused by %s: %s", d.Guard, d.Reason)
	case d.Verdict == "deny":
		return fmt.Sprintf("denied by %s: %s (%s)", d.Guard, d.Reason, d.Code)
	case d.Reason != "":
		return string(d.Reason)
	}
	return "allowed"
}

// remedy tells the narrowest exception and where it goes, or why there is none.
func remedy(line func(label, text string, args ...any), d gate.Decision) {
	fix, place, found := strings.Cut(d.Fix, "  # ")
	if !found {
		if i := strings.LastIndex(d.Fix, " at "); i > 0 && strings.Contains(d.Fix[i:], "#/") {
			fix, place = d.Fix[:i], d.Fix[i+len(" at "):]
		}
	}
	if fix == "" {
		fix = withoutException(d.Guard)
	}
	line("to allow", "%s", fix)
	line("  at", "%s", place)
}

// withoutException says what there is to do where no line of a document would have admitted the request.
func withoutException(guard string) string {
	switch guard {
	case "wire", "canon":
		return "nothing in a document: two readers could understand these bytes differently; the client has to send others"
	case "identity":
		return "nothing in a document: the client needs a valid token for this API"
	case "match":
		return "declare the operation in a contract, if it is meant to exist"
	case "limits", "rate":
		return "a larger value at the rule above, if the client means well"
	case "upstream":
		return "nothing: the request was allowed; look at the server behind"
	case "audit":
		return "nothing: events cannot be written; look at the disk of the event log"
	}
	return ""
}

func asked(e gate.Event) string {
	r := e.Request
	if r.Method == "" {
		return ""
	}
	text := r.Method + " " + r.Host
	if r.Operation != "" {
		text += r.Template + " (" + r.Operation + " of " + r.API + ")"
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
