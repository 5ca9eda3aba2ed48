// Package patch closes a known hole in a server behind, before that can be mended: a virtual patch denies the requests of one
// operation, or of a whole API, that have something at a place (a path parameter, a query parameter, a field, a cookie, a
// part of the body) of which a condition is true. It is as narrow as the hole, says who wrote it and why, and ends by
// itself on the day that it names: an old patch is a rule that nobody understands any more. What it stops is the time between
// a finding and its fix (OWASP's virtual patching); adversary row L5.
//
// Patches come from the document, and from the operator's command, which every node follows within a second; see kept. A
// condition is checked completely when it is loaded. What can't be judged, such as a property that isn't there, is denied.
package patch

import (
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Why the guard denies.
const (
	Denied gate.Reason = "patch.denied" // a patch's condition is true of the request
	Failed gate.Reason = "patch.error"  // a patch's condition can't be judged of the request
)

// Reasons lists every reason with which this guard denies.
func Reasons() []gate.Reason { return []gate.Reason{Denied, Failed} }

// Mode is what a patch does with a request that it matches.
type Mode string

// The modes. The zero Mode blocks.
const (
	Block  Mode = "block"  // deny
	Detect Mode = "detect" // record in the event, and deny nothing
)

// Values lists the words.
func (Mode) Values() []string { return []string{string(Block), string(Detect)} }

// Patch is one virtual patch.
type Patch struct {
	// Name of the patch, unique among its API's: letters, digits, dots and dashes. Events name it.
	ID string `yaml:"id" json:"id"`
	// Operation that it closes, by operationId or as "POST /orders". Default: every operation of the API.
	Operation string `yaml:"operation" json:"operation,omitempty"`
	// Where it looks: path.NAME, query.NAME, header.NAME, cookie.NAME, body, or body and a JSON pointer such as body/items/*/sku, where * is every element or member. Default request, which is all of it.
	At string `yaml:"at" json:"at,omitempty"`
	// Condition in CEL under which a request is denied: over value (what stands at the place), request, params, body and caller. Default: that anything stands there at all.
	When string `yaml:"when" json:"when,omitempty"`
	// When it ends, such as 2026-12-31. There is no patch without an end.
	Until time.Time `yaml:"until" json:"until"`
	// block, or detect, which records and denies nothing. Default block.
	Mode Mode `yaml:"mode" json:"mode,omitempty"`
	// Who wrote it.
	Author string `yaml:"author" json:"author"`
	// Why, in words.
	Reason string `yaml:"reason" json:"reason"`
	// What was found, as the id of a finding, an event or a ticket.
	Finding string `yaml:"finding" json:"finding,omitempty"`
}

// Soon is how long before its end a patch is told of.
const Soon = 7 * 24 * time.Hour

// Longest is how far away an end may be: a patch is no fix. In a document, one that lies farther is told by check.
const Longest = 366 * 24 * time.Hour

// Expired tells that the patch has ended.
func (p Patch) Expired(now time.Time) bool { return !now.Before(p.Until) }

// EndsSoon tells that the patch is about to end.
func (p Patch) EndsSoon(now time.Time) bool { return !p.Expired(now) && p.Until.Sub(now) <= Soon }

// Blocks tells whether the patch denies, or only records.
func (p Patch) Blocks() bool { return p.Mode != Detect }

var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`)

// maxWord bounds what people write about a patch, in bytes.
const maxWord = 500

// check lists what is wrong with a patch whatever its API. Fresh is asked of a patch that is added now: its end must lie
// ahead, and not too far.
func (p Patch) check(now time.Time, fresh bool) (list mistake.List) {
	if !idForm.MatchString(p.ID) {
		list.Add("id", "id: orders-sqli", "a patch needs a name of at most 64 letters, digits, dots and dashes; events name it")
	}
	for _, w := range []struct{ key, word, write string }{{"author", p.Author, "author: you"}, {"reason", p.Reason, `reason: "what this closes"`}} {
		if strings.TrimSpace(w.word) == "" {
			list.Add(w.key, w.write, "a patch says who wrote it and why, for whoever lifts it")
		}
	}
	for _, w := range []struct{ key, word string }{{"author", p.Author}, {"reason", p.Reason}, {"finding", p.Finding}} {
		if len(w.word) > maxWord || strings.ContainsFunc(w.word, func(r rune) bool { return !unicode.IsPrint(r) }) {
			list.Add(w.key, "", "has more than %d bytes or is not printable", maxWord)
		}
	}
	if p.Mode != "" && p.Mode != Block && p.Mode != Detect {
		list.Add("mode", mistake.Nearest(string(p.Mode), Mode("").Values()), "%q is neither block nor detect", string(p.Mode))
	}
	switch day := now.AddDate(0, 0, 30).Format("2006-01-02"); {
	case p.Until.IsZero():
		list.Add("until", "until: "+day, "a patch needs the day on which it ends")
	case fresh && p.Expired(now):
		list.Add("until", "until: "+day, "%s is over", p.Until.Format("2006-01-02"))
	case fresh && p.Until.Sub(now) > Longest:
		list.Add("until", "until: "+day, "a patch lasts a year at most; write it again when the hole is still open then")
	}
	return list
}

// Config is the section guards.patch.
type Config struct {
	// Patches of every operation that they name, beside those that gatehouse patch add has added.
	List []Patch `yaml:"list"`
	// Most steps that judging one request by one condition may take before the request is denied; a step takes up to a microsecond. Default 100000.
	Cost uint64 `yaml:"cost"`
}
