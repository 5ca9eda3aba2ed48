package referee

import (
	"fmt"
	"time"
)

// Spoilt makes the candidate with the n-th mistake built in, and says what the mistake is. Nil when there is no such number.
type Spoilt func(n int) (c Candidate, mistake string, err error)

// Survivor is a mistake that was not found.
type Survivor struct {
	Number  int
	Mistake string
	Asked   int // requests
}

// Kills is what became of mutants.
type Kills struct {
	Tried     int
	Survivors []Survivor
	Slowest   time.Duration
}

func (k Kills) String() string {
	if k.Tried == 0 {
		return "no mutant tried"
	}
	s := fmt.Sprintf("%d of %d mutants found (%.1f %%), the slowest in %v", k.Tried-len(k.Survivors), k.Tried, 100*float64(k.Tried-len(k.Survivors))/float64(k.Tried), k.Slowest.Round(time.Millisecond))
	for _, v := range k.Survivors {
		s += fmt.Sprintf("\n  not found: %d, %s, in %d requests", v.Number, v.Mistake, v.Asked)
	}
	return s
}

// More gives further requests to try on a mutant that all records have spared; n counts up. None ends the search.
type More func(n int) []Request

// Mutants holds every n-th of the spoilt candidates to the records, and then to what more gives, until one is found out or
// the time for it is up. The candidate without a mistake must have been held to the same records before.
func (r *Referee) Mutants(build Spoilt, every int, records []Record, more More, each time.Duration) (Kills, error) {
	var k Kills
	for n := 0; ; n += max(every, 1) {
		c, mistake, err := build(n)
		if err != nil {
			return k, fmt.Errorf("mutant %d: %w", n, err)
		}
		if c == nil {
			return k, nil
		}
		k.Tried++
		began := time.Now()
		asked, killed, err := r.hunt(c, records, more, began.Add(each))
		if err != nil {
			return k, fmt.Errorf("mutant %d, %s: %w", n, mistake, err)
		}
		if !killed {
			k.Survivors = append(k.Survivors, Survivor{n, mistake, asked})
		} else {
			k.Slowest = max(k.Slowest, time.Since(began))
		}
	}
}

// hunt looks for one request that gives a candidate away.
func (r *Referee) hunt(c Candidate, records []Record, more More, until time.Time) (asked int, killed bool, err error) {
	for n := 0; ; n++ {
		for _, record := range records {
			if time.Now().After(until) {
				return asked, false, nil
			}
			asked++
			found, err := r.givesAway(c, record)
			if found || err != nil {
				return asked, found, err
			}
		}
		if more == nil {
			return asked, false, nil
		}
		requests := more(n)
		if len(requests) == 0 {
			return asked, false, nil
		}
		if records, err = r.Records(requests, 1); err != nil {
			return asked, false, err
		}
	}
}

// givesAway asks a candidate's fast path, or all of it when that cannot be asked alone. A mutant that fails in asking has
// been found as well.
func (r *Referee) givesAway(c Candidate, record Record) (bool, error) {
	var got Outcome
	var err error
	if quick, ok := c.(Quick); ok {
		var fast bool
		if got, fast, err = quick.Quick(record.Request); err == nil && !fast {
			return false, nil
		}
	} else {
		got, _, err = c.Judge(record.Request)
	}
	if err != nil {
		return true, nil
	}
	differences, err := r.believed(record, got)
	return len(differences) > 0, err
}
