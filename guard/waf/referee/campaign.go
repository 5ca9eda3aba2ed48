package referee

import (
	"fmt"
	"strings"
	"time"
)

// Candidate judges collections and says what plain Coraza would say, and whether it knew without asking Coraza.
type Candidate interface {
	Judge(Request) (o Outcome, fast bool, err error)
}

// Quick is a candidate whose fast path can be asked alone: fast is false, and the outcome nothing, where Coraza would have
// to be asked. What is spoilt in a filter shows there or nowhere, so that mutants are found many times sooner.
type Quick interface {
	Quick(Request) (o Outcome, fast bool, err error)
}

// Plain is the candidate that has no fast path: the engine in this process.
type Plain struct{ Engine *Engine }

// Judge asks the engine.
func (p Plain) Judge(r Request) (Outcome, bool, error) { return p.Engine.Run(r), false, nil }

// Record is a request and what the referee said about it.
type Record struct {
	Request   Request
	Judgement Judgement
}

// Records asks the referee about each request, so many times.
func (r *Referee) Records(requests []Request, runs int) ([]Record, error) {
	judgements, err := r.Judge(requests, runs)
	if err != nil {
		return nil, err
	}
	list := make([]Record, len(requests))
	for i := range requests {
		list[i] = Record{requests[i], judgements[i]}
	}
	return list, nil
}

// Finding is a request about which a candidate does not say what the referee says.
type Finding struct {
	Request     Request
	Fast        bool // found on the fast path
	Differences []string
}

func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (paranoia %d, fast %v):", f.Request.Name, max(f.Request.Settings.Paranoia, 1), f.Fast)
	for i, d := range f.Differences {
		if i == 12 {
			fmt.Fprintf(&b, "\n  and %d more", len(f.Differences)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %.300s", d)
	}
	b.WriteString("\n  of")
	for _, v := range append(append([]Value{}, f.Request.Head...), f.Request.Body...) {
		fmt.Fprintf(&b, " %s:%q=%.200q", v.Variable, v.Key, v.Text)
	}
	return b.String()
}

// Report is what became of a candidate.
type Report struct {
	Asked    int // requests
	Fast     int // of which the fast path answered
	Unstable int // about which the referee disagreed with itself
	Findings []Finding
	Took     time.Duration // of the candidate, without the referee
}

func (r Report) String() string {
	return fmt.Sprintf("%d requests, %d on the fast path, %d about which the referee disagrees with itself, %d findings, %v", r.Asked, r.Fast, r.Unstable, len(r.Findings), r.Took.Round(time.Millisecond))
}

// patience is how often the referee is asked again about a request before a difference is believed: Coraza's random order
// may have an outcome that the first runs did not show.
const patience = 200

// Hold asks a candidate about each record and compares. It ends after so many findings; 0 is no limit.
func (r *Referee) Hold(c Candidate, records []Record, most int) (Report, error) {
	var report Report
	for _, record := range records {
		report.Asked++
		if !record.Judgement.Stable() {
			report.Unstable++
		}
		began := time.Now()
		got, fast, err := c.Judge(record.Request)
		report.Took += time.Since(began)
		if err != nil {
			return report, fmt.Errorf("%s: %w", record.Request.Name, err)
		}
		if fast {
			report.Fast++
		}
		differences, err := r.believed(record, got)
		if err != nil {
			return report, err
		}
		if len(differences) > 0 {
			report.Findings = append(report.Findings, Finding{record.Request, fast, differences})
			if len(report.Findings) == most {
				break
			}
		}
	}
	return report, nil
}

// believed gives the differences that stay when the referee has been asked often enough.
func (r *Referee) believed(record Record, got Outcome) ([]string, error) {
	j := record.Judgement
	differences := j.Differences(got)
	for len(differences) > 0 && j.Runs < patience {
		more, err := r.Judge([]Request{record.Request}, max(4, j.Runs))
		if err != nil {
			return nil, err
		}
		j = j.join(more[0])
		differences = j.Differences(got)
		if j.Stable() && j.Runs > 48 { // of two orders that are as likely, each has been seen
			break
		}
	}
	return differences, nil
}

// Compare asks the referee and the candidate about each request.
func (r *Referee) Compare(c Candidate, requests []Request, runs, most int) (Report, error) {
	records, err := r.Records(requests, runs)
	if err != nil {
		return Report{}, err
	}
	return r.Hold(c, records, most)
}
