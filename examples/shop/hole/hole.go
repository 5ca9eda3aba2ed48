// Package hole is the list of everything that is wrong with the shop, for programs: which service, which OWASP API risk,
// what of Gatehouse stops it today, and what is still open. The same list for people is the table in ../README.md; a test
// keeps the two, and the attacks of ../tour, in step.
package hole

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed holes.json
var text string

// Hole is one mistake in one service, or in what all services share (Service is then "all").
type Hole struct {
	ID        string   `json:"id"`                   // stable, such as "ORD-08"
	Service   string   `json:"service"`              // catalogue, orders, paycard, paybank, logistics, invoice, all
	What      string   `json:"what"`                 // in one sentence
	OWASP     string   `json:"owasp"`                // item of the OWASP API Security Top 10 of 2023, such as "API3"
	StoppedBy []string `json:"stopped_by,omitempty"` // guard folders, or wire, canon, match, cors, body; empty when open
	OpenUntil string   `json:"open_until,omitempty"` // what must be built first; empty when it is stopped
	Untoured  string   `json:"untoured,omitempty"`   // why no attack of the tour shows it; empty when one does
}

// Open tells whether nothing stops it today.
func (h Hole) Open() bool { return len(h.StoppedBy) == 0 }

// All gives every hole in the order of the README.
func All() ([]Hole, error) {
	var all []Hole
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("holes.json: %w", err)
	}
	return all, nil
}
