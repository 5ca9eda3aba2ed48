// Package response looks into the answers of servers for what no client should read: private keys and credentials, numbers
// of payment cards, stack traces, what a data base says of a statement, paths of a program's files, and whatever the
// response rules of the Core Rule Set know (RESPONSE-950 to 956, judged by 959). An attack that got through shows itself
// here, and a server that fails tells no more than that it failed.
//
// The first bytes of an answer are held until they are judged, so that a client whose answer is refused gets a problem
// document and not one leaked byte. The rules judge them exactly as the engine does: their words are looked for in one pass,
// the engine's own operators are asked where all words of a rule stand, and the engine itself only when some rule matches.
// What comes after is looked at piece by piece, each with an end of the one before. There leaks are found as if the text
// were one; a rule is asked about pieces, so that one which spans more than four kibibytes, or counts what is far apart, may
// miss: that part is not exact. What looks like the beginning of a leak waits until it is certain; a hit breaks the answer off, which HTTP lets a client see.
//
// Who can write into an answer could have it refused for everybody: a comment with the words of an SQL error, on a page that
// all read. Therefore what is usually refused are answers by which a server says itself that it failed, and private keys;
// other finds are recorded. See Mode.
package response

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// The reasons for which an answer is refused or noted.
const (
	ReasonLeak   gate.Reason = "waf.response_leak"   // it holds what no client should read
	ReasonRule   gate.Reason = "waf.response_rule"   // response rules matched, and their scores together reached the threshold
	ReasonUnread gate.Reason = "waf.response_unread" // it can't be looked into: its coding, or more than there is time for
)

// Reasons lists them.
func Reasons() []string {
	return []string{string(ReasonLeak), string(ReasonRule), string(ReasonUnread)}
}

// Mode is which answers are refused when something is found in them.
type Mode string

// The modes.
const (
	Off    Mode = "off"    // answers are not looked into
	Detect Mode = "detect" // nothing is refused; finds are recorded
	Errors Mode = "errors" // refused are answers with status 500 to 599, and private keys in any answer; other finds are recorded
	Block  Mode = "block"  // every answer in which something is found is refused
)

// Config is the section guards.waf.responses.
type Config struct {
	// Which answers are refused when something is found in them: off, detect, errors or block. Default errors: what a server says when it fails, and private keys in text; other finds are recorded in the event.
	Mode Mode `yaml:"mode"`
	// How much of an answer is held before its first byte leaves, and judged exactly. Default 512KiB. What comes after is looked at in pieces.
	Exact unit.Size `yaml:"exact"`
	// How long an answer of unknown length is held at most, so that one that comes slowly is not kept from its client. Default 250ms. What comes after is looked at in pieces.
	Wait time.Duration `yaml:"wait"`
	// The sum of scores at which the rules refuse an answer; an error scores 4, a critical rule 5. Default 4.
	Threshold int `yaml:"threshold"`
	// What is let be, as narrow as it can be written.
	Except []Exception `yaml:"except"`
}

// Exception lets one kind of find be, in one operation or everywhere.
type Exception struct {
	// Kind of leak, such as leak.card, or number of a response rule, such as 952110, as events name them.
	Rule string `yaml:"rule"`
	// Operation for which it holds. Without it, all.
	Operation string `yaml:"operation"`
}

// Inspector looks into the answers of one API. Make it with New. The nil Inspector looks into none.
type Inspector struct {
	cfg      Config
	paranoia int
	rules    *Rules
	budget   time.Duration // of processor time that the rules may take for one answer, or one piece of it
}

// usualBudget is many times what ordinary answers take.
const usualBudget = 100 * time.Millisecond

// New checks the section. Paranoia is the level of guards.waf, 1 to 4.
func New(cfg Config, paranoia int, api *gate.API, rules *Rules) (*Inspector, error) {
	var m mistake.List
	modes := []string{string(Off), string(Detect), string(Errors), string(Block)}
	if cfg.Mode != "" && !slices.Contains(modes, string(cfg.Mode)) {
		m.Add("mode", mistake.Nearest(string(cfg.Mode), modes), "%q is no mode; there are off, detect, errors and block", cfg.Mode)
	}
	if cfg.Exact < 0 || cfg.Exact > 0 && cfg.Exact < unit.KiB || cfg.Exact > 16*unit.MiB {
		m.Add("exact", "exact: 512KiB", "%s is not between 1KiB and 16MiB, which each answer in progress may take of memory", cfg.Exact)
	}
	if cfg.Wait < 0 || cfg.Wait > time.Minute {
		m.Add("wait", "wait: 250ms", "%s is not between 0s and 1m", cfg.Wait)
	}
	if cfg.Threshold < 0 {
		m.Add("threshold", "threshold: 4", "a negative threshold would refuse everything")
	}
	for i, e := range cfg.Except {
		at := fmt.Sprintf("except[%d]", i)
		if n, err := strconv.Atoi(e.Rule); !slices.Contains(Kinds(), e.Rule) && (err != nil || n < 950000 || n > 956999) {
			m.Add(at+".rule", mistake.Nearest(e.Rule, Kinds()), "%q is neither a kind of leak nor a response rule; those go from 950000 to 956999", e.Rule)
		}
		if e.Operation != "" && !slices.ContainsFunc(api.Operations, func(op *gate.Operation) bool { return op.Key == e.Operation }) {
			m.Add(at+".operation", "", "API %q has no operation %q", api.Name, e.Operation)
		}
	}
	return &Inspector{cfg: cfg.withDefaults(), paranoia: max(paranoia, 1), rules: rules, budget: usualBudget}, m.Err()
}

func (c Config) withDefaults() Config {
	if c.Mode == "" {
		c.Mode = Errors
	}
	if c.Exact == 0 {
		c.Exact = 512 * unit.KiB
	}
	if c.Wait == 0 {
		c.Wait = 250 * time.Millisecond
	}
	if c.Threshold == 0 {
		c.Threshold = 4
	}
	return c
}

// ReadsAnswer tells that answers of the operation are looked into: those that are no streams.
func (i *Inspector) ReadsAnswer(op *gate.Operation) bool {
	if i == nil || i.cfg.Mode == Off {
		return false
	}
	return op.Stream.Kind == "" || op.Stream.Kind == "upload"
}

// InspectAnswer begins to look into an answer; nil when its media type is no text. An answer that its operation declares as
// a stream does not come here; one that was declared so and is none does.
func (i *Inspector) InspectAnswer(x *gate.Exchange, a *gate.Answer) gate.Inspection {
	if i == nil || i.cfg.Mode == Off {
		return nil
	}
	kind := mediaOf(a.Fields)
	if kind == binary {
		return nil
	}
	n := &inspection{inspector: i, x: x, status: a.Status, fields: a.Fields, unsure: kind == unsure}
	n.scanner = scanner{rules: i.rules, level: i.paranoia, status: strconv.Itoa(a.Status), except: i.excepted(x.Operation.Key), budget: i.budget, holds: func(kind string) bool { return i.refuses(kind, a.Status) }}
	return n
}

func (i *Inspector) excepted(operation string) map[string]bool {
	var set map[string]bool
	for _, e := range i.cfg.Except {
		if e.Operation == "" || e.Operation == operation {
			if set == nil {
				set = map[string]bool{}
			}
			set[e.Rule] = true
		}
	}
	return set
}

// refuses tells that a find of this kind is a denial in an answer of this status.
func (i *Inspector) refuses(kind string, status int) bool {
	switch i.cfg.Mode {
	case Block:
		return true
	case Errors:
		return kind == PrivateKey || status >= http.StatusInternalServerError
	}
	return false
}
