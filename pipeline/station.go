package pipeline

import (
	"fmt"
	"reflect"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// phase is when a guard looks.
type phase int

const (
	arrive  phase = iota // the head is canonical, nothing is matched
	admit                // the operation is known
	release              // the answer's head is known
)

// station is one line of order.go: a guard that can be built for an API from its section of the document.
type station struct {
	phase  phase
	name   string // folder and key
	config reflect.Type
	build  func(d *config.Document, section string, api *gate.API, t Tools) (stage, error)
}

// stage is a guard in its place on the way of one API's requests.
type stage struct {
	name    string
	check   gate.Guard         // nil when it looks at answers only
	review  gate.ResponseGuard // nil when it looks at requests only
	settle  gate.Settler       // nil when it need not know the end
	body    gate.BodyUser      // nil when it never reads bodies
	answers gate.AnswerReader  // nil when it never reads the bodies of answers
	dryRun  gate.Risk          // while accepted, a denial is recorded and the request goes on
	off     gate.Risk          // while accepted, the guard is switched off
	section string             // of the document that made it
}

// rests tells that the guard is switched off at the time now. When the acceptance ends it works again, by itself.
func (s stage) rests(now time.Time) bool { return s.off.Accepted(now) }

// watches tells that the guard would deny nothing at the time now.
func (s stage) watches(now time.Time) bool { return s.dryRun.Accepted(now) }

// section is what every guard's section may hold beside its own keys.
type section[C any] struct {
	Own C `yaml:",inline"`
	// Switches this guard off. It takes accept_risk with the reason.
	Off *gate.Risk `yaml:"off"`
	// Lets this guard record and count what it would deny, and deny nothing. It takes accept_risk with the reason, and until with the day on which it ends.
	DryRun *gate.Risk `yaml:"dry_run"`
}

// at is a line of order.go.
func at[C, G any](p phase, name string, build func(C, *gate.API, Tools) (G, error)) station {
	return station{phase: p, name: name, config: reflect.TypeFor[section[C]](), build: func(d *config.Document, path string, api *gate.API, t Tools) (stage, error) {
		c, _, err := config.Section[section[C]](d, path)
		if err != nil {
			return stage{}, err
		}
		s := stage{name: name, section: path}
		var m mistake.List
		s.switches(c.Off, c.DryRun, t.Now(), &m)
		if s.off.AcceptRisk == "" || !s.off.Until.IsZero() { // what ends one day is built today, so that it can work then
			guard, err := build(c.Own, api, t)
			if err == nil {
				s.holds(guard)
			}
			m.Under("", err)
		}
		return s, d.Place(m.Err(), path)
	}}
}

// switches reads off and dry_run, which are legal only with their reason.
func (s *stage) switches(off, dry *gate.Risk, now time.Time, m *mistake.List) {
	if off != nil {
		s.off = *off
		if !off.Accepted(now) {
			m.Add("off", `off: {accept_risk: "why this guard is not needed here"}`, "a guard is switched off without a reason that holds today")
		}
	}
	if dry != nil {
		s.dryRun = *dry
		if dry.AcceptRisk == "" || dry.Until.IsZero() {
			m.Add("dry_run", `dry_run: {accept_risk: "why", until: `+now.AddDate(0, 0, 14).Format("2006-01-02")+`}`, "a dry run denies nothing, so it takes a reason and the day on which it ends")
		}
	}
}

// holds fills in what the guard can do.
func (s *stage) holds(guard any) {
	s.check, _ = guard.(gate.Guard)
	s.review, _ = guard.(gate.ResponseGuard)
	s.settle, _ = guard.(gate.Settler)
	s.body, _ = guard.(gate.BodyUser)
	s.answers, _ = guard.(gate.AnswerReader)
	if s.check == nil && s.review == nil {
		panic(fmt.Sprintf("pipeline: %s is neither a Guard nor a ResponseGuard", s.name))
	}
}

// GuardNames lists the guards in the order in which requests meet them.
func GuardNames() []string {
	var names []string
	for _, s := range order() {
		if len(names) == 0 || !contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// Parts lists the sections that the pipeline reads: guards for all APIs, the APIs, and guards for one API.
func Parts() []config.Part {
	parts := []config.Part{{Name: "apis[]", Type: reflect.TypeFor[APIConfig](), Doc: "One protected API: its contract, its servers, and what the document adds."}}
	seen := map[string]bool{}
	for _, s := range order() {
		if seen[s.name] {
			continue
		}
		seen[s.name] = true
		parts = append(parts,
			config.Part{Name: "guards." + s.name, Type: s.config, Doc: "The guard in guard/" + s.name + ", for every API that has no section of its own."},
			config.Part{Name: "apis[].guards." + s.name, Type: s.config, Doc: "The same for one API; it replaces the section above as a whole."})
	}
	return parts
}
