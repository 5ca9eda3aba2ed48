package authority

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
)

// recordFormat names the form of the record.
const recordFormat = "gatehouse.authority/1"

// maxMembers bounds a line: one that signs, its successor, predecessors that have not ended.
const maxMembers = 16

// line is the authorities that follow each other, the eldest first.
type line struct{ members []member }

type member struct {
	authority *ca.Authority
	signs     time.Time
}

// record is how a line is written: sealed by the store.
type record struct {
	Format  string         `json:"format"`
	Members []recordMember `json:"members"`
}

type recordMember struct {
	Signs  time.Time `json:"signs"`
	Secret []byte    `json:"secret"` // certificate and key
}

// parse reads a record; none is a line without members.
func parse(value []byte) (*line, error) {
	l := &line{}
	if value == nil {
		return l, nil
	}
	var r record
	if err := json.Unmarshal(value, &r); err != nil || r.Format != recordFormat {
		return nil, errors.New("the record is not one, or was written by a newer version") // the error may repeat a part of a key
	}
	if len(r.Members) == 0 || len(r.Members) > maxMembers {
		return nil, fmt.Errorf("the record has %d members", len(r.Members))
	}
	for _, m := range r.Members {
		a, err := ca.Parse(m.Secret)
		if err != nil {
			return nil, err
		}
		if a.Domain() == "" {
			return nil, errors.New("a member is confined to no domain")
		}
		l.members = append(l.members, member{a, m.Signs})
	}
	return l, nil
}

func (l *line) marshal() ([]byte, error) {
	r := record{Format: recordFormat}
	for _, m := range l.members {
		secret, err := m.authority.Secret()
		if err != nil {
			return nil, err
		}
		r.Members = append(r.Members, recordMember{m.signs, secret})
	}
	if len(r.Members) > maxMembers {
		return nil, fmt.Errorf("%d authorities that have not ended are enough; wait until one has", maxMembers)
	}
	return json.Marshal(r)
}

// signing is the youngest that may sign; before any may (a clock that is behind), the eldest.
func (l *line) signing(now time.Time) *member {
	var chosen *member
	for i := range l.members {
		m := &l.members[i]
		ended := !now.Before(m.authority.Certificate.NotAfter)
		if !ended && (chosen == nil || !now.Before(m.signs)) {
			chosen = m
		}
	}
	return chosen
}

// due tells that a successor is missing: the youngest ends soon, or there is none.
func (l *line) due(now time.Time) bool {
	if len(l.members) == 0 {
		return true
	}
	youngest := l.members[len(l.members)-1].authority.Certificate
	return youngest.NotAfter.Sub(now) < Succession
}

// unended leaves out authorities whose time is over.
func (l *line) unended(now time.Time) []member {
	return slices.DeleteFunc(slices.Clone(l.members), func(m member) bool { return !now.Before(m.authority.Certificate.NotAfter) })
}
