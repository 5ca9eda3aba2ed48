package seclang

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/gatehouse-sec/gatehouse/kit/leak"
)

// Next lets one transaction that denies at a paranoia level also run the rules of the next level, for detection: what they
// find is told by Found and denies nothing. Call it before the first phase.
func Next(tx plugintypes.TransactionState, level int) {
	tx.Variables().TX().Set("blocking_paranoia_level", []string{strconv.Itoa(level)})
	tx.Variables().TX().Set("detection_paranoia_level", []string{strconv.Itoa(min(level+1, 4))})
}

// Match is one rule that matched at one place.
type Match struct {
	Rule     int
	Level    int    // paranoia level of the rule, 1 to 4; 0 when it has none
	Argument string // as an exception names it; "" when the place is none that an exception can name
}

// Found are the matches of a transaction, once for each rule and place, without the rules that only add up.
func Found(tx types.Transaction) (list []Match) {
	seen := map[Match]bool{}
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		if id == 0 || keepsBooks(id) || m.Message() == "" {
			continue
		}
		level := LevelOf(m.Rule())
		for _, d := range m.MatchedDatas() {
			if d.ChainLevel() > 0 {
				continue // of a link: exceptions speak of the rule
			}
			one := Match{id, level, Argument(d.Variable().Name(), d.Key())}
			if !seen[one] {
				seen[one] = true
				list = append(list, one)
			}
		}
	}
	return list
}

// LevelOf is the paranoia level from which on a rule is asked; 0 when it doesn't say.
func LevelOf(rule types.RuleMetadata) (level int) {
	for _, tag := range rule.Tags() {
		if n, ok := strings.CutPrefix(tag, "paranoia-level/"); ok {
			level, _ = strconv.Atoi(n)
		}
	}
	return level
}

var (
	number    = regexp.MustCompile(`\.[0-9]+(\.|$)`)
	plainName = regexp.MustCompile(`^[A-Za-z0-9_.\[\]*-]{1,80}$`)
)

// other stands for names that are no plain ones, and for all that there is no more room for.
const other = "(other)"

// Argument names a place as an exception does. Places of lists become *, and what a client made up is not kept.
func Argument(variable, key string) string {
	prefix := ""
	switch variable {
	case "ARGS", "ARGS_GET", "ARGS_POST", "ARGS_PATH":
	case "REQUEST_HEADERS":
		prefix = "header:"
	case "REQUEST_COOKIES":
		prefix = "cookie:"
	default:
		return ""
	}
	if strings.HasPrefix(key, "json.") {
		for number.MatchString(key) {
			key = number.ReplaceAllString(key, ".*$1")
		}
	}
	if !plainName.MatchString(key) || leak.Looks(key) {
		return prefix + other
	}
	return prefix + key
}

// Would tells whether a transaction that went through would have been denied at the level of its detection.
func Would(tx plugintypes.TransactionState) bool {
	score, threshold := value(tx, "detection_inbound_anomaly_score"), value(tx, "inbound_anomaly_score_threshold")
	return threshold > 0 && score >= threshold
}

func value(tx plugintypes.TransactionState, name string) int {
	if list := tx.Variables().TX().Get(name); len(list) > 0 {
		n, _ := strconv.Atoi(list[0])
		return n
	}
	return 0
}

// Bounds of what is learned: how many lines in all, and how many arguments of one rule in one operation. A client that makes
// up names fills only the room of the rule and the operation it attacks.
const (
	mostLines     = 20_000
	mostArguments = 64
)

// Learning counts what is found and not denied, by operation, rule and argument. It is bounded, and safe for use by many. The
// zero Learning is ready.
type Learning struct {
	mu     sync.Mutex
	counts map[line]*counts
	room   map[bucket]int
	since  time.Time
	asked  int64
	lost   int64
}

type bucket struct {
	operation string
	rule      int
}

type line struct {
	bucket
	level    int
	argument string
}

type counts struct {
	matches, would int64
	last           time.Time
}

// Record counts the matches of one request. Would tells that this request would have been denied.
func (l *Learning) Record(operation string, found []Match, would bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts, l.room, l.since = map[line]*counts{}, map[bucket]int{}, now
	}
	l.asked++
	for _, m := range found {
		c := l.count(line{bucket{operation, m.Rule}, m.Level, m.Argument})
		if c == nil {
			l.lost++
			continue
		}
		c.matches++
		c.last = now
		if would {
			c.would++
		}
	}
}

// count finds the counter of a line, or of the other arguments of its rule where there is no room; nil when there is none at
// all.
func (l *Learning) count(at line) *counts {
	if c := l.counts[at]; c != nil {
		return c
	}
	if l.room[at.bucket] >= mostArguments {
		at.argument = other
		if c := l.counts[at]; c != nil {
			return c
		}
	}
	if len(l.counts) >= mostLines {
		return nil
	}
	l.room[at.bucket]++
	c := new(counts)
	l.counts[at] = c
	return c
}

// Learned is the report: what the rules found without denying, most often denied first.
type Learned struct {
	Since    time.Time     `json:"since,omitzero"`
	Requests int64         `json:"requests"`       // that were looked at
	Lost     int64         `json:"lost,omitempty"` // matches for which there was no room
	Lines    []LearnedLine `json:"lines"`
}

// LearnedLine is one rule at one place of one operation.
type LearnedLine struct {
	Operation string    `json:"operation"`
	Rule      int       `json:"rule"`
	Level     int       `json:"level"`
	Argument  string    `json:"argument,omitempty"`
	Matches   int64     `json:"matches"`
	Would     int64     `json:"would_deny"` // requests that would have been denied
	Last      time.Time `json:"last"`
	Exception string    `json:"exception,omitempty"` // the narrowest one, to be completed by author, reason and until
}

// Report returns what was counted so far: sorted by would-be denials, then matches, then operation, rule and argument.
func (l *Learning) Report() Learned {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Learned{Since: l.since, Requests: l.asked, Lost: l.lost, Lines: []LearnedLine{}}
	for at, c := range l.counts {
		one := LearnedLine{at.operation, at.rule, at.level, at.argument, c.matches, c.would, c.last, ""}
		if !strings.Contains(at.argument, other) {
			one.Exception = Exception{Rule: at.rule, Argument: at.argument, Operation: at.operation}.String()
		}
		r.Lines = append(r.Lines, one)
	}
	slices.SortFunc(r.Lines, func(a, b LearnedLine) int {
		return cmp.Or(cmp.Compare(b.Would, a.Would), cmp.Compare(b.Matches, a.Matches), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Argument, b.Argument), cmp.Compare(a.Level, b.Level))
	})
	return r
}
