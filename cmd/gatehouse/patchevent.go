package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/gate"
)

// proposed is what an event tells about the hole that a patch should close.
type proposed struct {
	event          string
	api, operation string
	places         []string // where the patch could look, the likeliest first
	why            string   // what the event says
}

// proposal reads an event of the log.
func proposal(id, directory string) (proposed, error) {
	if directory == "" {
		state, err := stateDirectory()
		if err != nil {
			return proposed{}, err
		}
		directory = filepath.Join(state, "events")
	}
	e, err := audit.Find(directory, strings.TrimSpace(id))
	if errors.Is(err, audit.ErrNoEvent) {
		return proposed{}, fmt.Errorf("no event %q in %s; other logs: --events DIRECTORY", tame(id), directory)
	}
	if err != nil {
		return proposed{}, err
	}
	return proposalOf(e)
}

var (
	saidPlace    = regexp.MustCompile(`\b(path|query|header|cookie)\.[A-Za-z0-9_.-]+|\bbody(?:\s?/[A-Za-z0-9_~/.*-]+)`)
	saidArgument = regexp.MustCompile(`argument: "?([A-Za-z0-9_.\[\]:-]+)`)
)

// proposalOf reads API, operation and places from an event.
func proposalOf(e gate.Event) (proposed, error) {
	if e.Request.Operation == "" {
		return proposed{}, fmt.Errorf("event %s is about no operation; say --api and --operation by hand", tame(e.ID))
	}
	p := proposed{event: e.ID, api: e.Request.API, operation: e.Request.Operation, why: e.Decision.Detail}
	add := func(place string) {
		if place != "" && !slices.Contains(p.places, place) {
			p.places = append(p.places, place)
		}
	}
	decisions := []gate.Would{{Rule: e.Decision.Rule, Detail: e.Decision.Detail + " " + e.Decision.Fix}}
	for _, d := range append(decisions, e.Decision.DryRun...) {
		if m := saidArgument.FindStringSubmatch(d.Detail); m != nil {
			add(placeOfArgument(m[1], e.Request.Params))
		}
		for _, m := range saidPlace.FindAllString(d.Detail, -1) {
			add(everyElement(strings.TrimRight(strings.ReplaceAll(m, "body /", "body/"), ".")))
		}
	}
	for _, param := range e.Request.Params {
		if param.In == "path" || param.In == "query" {
			add(param.In + "." + param.Name)
		}
	}
	return p, nil
}

// everyElement puts * for the numbers in a pointer: the exploit's element is rarely the only one.
func everyElement(place string) string {
	parts := strings.Split(place, "/")
	for i, part := range parts {
		if part != "" && strings.Trim(part, "0123456789") == "" {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// placeOfArgument turns the WAF's name of an argument into a place: json.items.0.note is body/items/*/note.
func placeOfArgument(argument string, params []gate.Param) string {
	if rest, ok := strings.CutPrefix(argument, "json."); ok {
		return everyElement("body/" + strings.ReplaceAll(rest, ".", "/"))
	}
	for _, p := range params {
		if p.Name == argument && (p.In == "query" || p.In == "path") {
			return p.In + "." + p.Name
		}
	}
	return "body/" + argument
}

// fill completes what was not said by hand.
func (p proposed) fill(q *patchQuestion) {
	if q.API == "" {
		q.API = p.api
	}
	if q.Operation == "" {
		q.Operation = p.operation
	}
	if q.Finding == "" {
		q.Finding = p.event
	}
	if q.At == "" && len(p.places) > 0 {
		q.At = p.places[0]
	}
}

// patchProposal is what is known of a patch before it has a condition.
type patchProposal struct {
	Event  string        `json:"event"`
	Why    string        `json:"why"`
	Places []string      `json:"places,omitempty"` // where it could look, the likeliest first
	Patch  patchQuestion `json:"patch"`
}

// printProposal prints the command that would follow: the condition is for somebody who has understood the hole.
func printProposal(w io.Writer, p patchProposal) {
	entry(w, "event", tame(p.Event+": "+p.Why))
	if len(p.Places) > 1 {
		entry(w, "places", tame(strings.Join(p.Places, ", ")))
	}
	q := p.Patch
	fmt.Fprintf(w, "\nNothing was added. Say under which condition a request is to be denied, until when and why:\n\n  gatehouse patch add %s --from-event %s --api %s --operation %s --at %s \\\n    --when 'CONDITION' --until 30d --reason 'WHY' --exploit exploit.http --good good/\n",
		quoted(q.ID), quoted(p.Event), quoted(q.API), quoted(q.Operation), quoted(cmp.Or(q.At, "PLACE")))
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// quoted is one word for a shell: an event tells names that a client chose, and what is printed is copied into a terminal.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(tame(word), "'", `'\''`) + "'"
}
