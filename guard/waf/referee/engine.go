package referee

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Engine is plain Coraza over collections. It may be used by several goroutines.
type Engine struct{ waf coraza.WAF }

// NewEngine compiles directives. Files that they include are those of the Core Rule Set's module; below earlier/, those of
// another release.
func NewEngine(directives string) (*Engine, error) {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(Releases()).WithDirectives(directives))
	if err != nil {
		return nil, fmt.Errorf("compile the directives: %w", err)
	}
	return &Engine{waf}, nil
}

// transaction is what we use of Coraza's beyond its published interface.
type transaction interface {
	types.Transaction
	plugintypes.TransactionState
	RemoveRuleByID(id int)
}

var errUnknownEngine = errors.New("this version of the engine is not the one that is known")

// Run judges one request, once.
func (e *Engine) Run(r Request) Outcome { return e.Without(r, nil) }

// Without judges a request while some rules are taken out for it.
func (e *Engine) Without(r Request, rules []int) Outcome {
	tx, ok := e.waf.NewTransactionWithID("referee").(transaction)
	if !ok {
		return Outcome{Failed: errUnknownEngine.Error()}
	}
	defer tx.Close()
	for _, id := range rules {
		tx.RemoveRuleByID(id)
	}
	if err := phases(tx, r); err != nil {
		return Outcome{Failed: err.Error()}
	}
	return outcome(tx)
}

// phases feeds each phase and runs it, until one interrupts.
func phases(tx transaction, r Request) error {
	for name, text := range r.Settings.settings() {
		tx.Variables().TX().Set(name, []string{strings.Clone(text)})
	}
	if err := feed(tx, r.Head); err != nil {
		return err
	}
	if tx.ProcessRequestHeaders() == nil {
		if err := feed(tx, r.Body); err != nil {
			return err
		}
		if it, err := tx.ProcessRequestBody(); it == nil && err == nil && r.Answered {
			err = answer(tx, r)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	if r.Logging {
		tx.ProcessLogging()
	}
	return nil
}

func answer(tx transaction, r Request) error {
	status, protocol := 200, "HTTP/1.1"
	for _, v := range r.AnswerHead {
		switch v.Variable {
		case "RESPONSE_STATUS":
			if _, err := fmt.Sscan(v.Text, &status); err != nil {
				return fmt.Errorf("%s: status %q: %w", r.Name, v.Text, err)
			}
		case "RESPONSE_PROTOCOL":
			protocol = v.Text
		}
	}
	if err := feed(tx, r.AnswerHead); err != nil {
		return err
	}
	if tx.ProcessResponseHeaders(status, protocol) != nil {
		return nil
	}
	if err := feed(tx, r.AnswerBody); err != nil {
		return err
	}
	_, err := tx.ProcessResponseBody()
	return err
}

// feed puts values into the collections they belong to. Every value gets a copy of its key of its own: the engine keeps what
// it has transformed by the address of the key and the position of the value, positions are random, and two values that
// shared one key would at times be taken for each other.
func feed(tx transaction, values []Value) error {
	for _, v := range values {
		variable, err := variables.Parse(v.Variable)
		if err != nil {
			return fmt.Errorf("%q is no variable: %w", v.Variable, err)
		}
		if _, derived := sources[v.Variable]; derived {
			return fmt.Errorf("%s is derived and cannot be fed", v.Variable)
		}
		switch c := tx.Collection(variable).(type) {
		case collection.Map:
			if variable == variables.TX {
				c.SetIndex(ownKey(v.Key), 0, strings.Clone(v.Text))
			} else {
				c.Add(ownKey(v.Key), strings.Clone(v.Text))
			}
		case interface{ Set(string) }:
			c.Set(strings.Clone(v.Text))
		default:
			return fmt.Errorf("%s cannot be fed", v.Variable)
		}
	}
	return nil
}

// ofChance tells which variables of TX are made by the time, or are what the last of several values left behind: the engine
// takes values in random order, so that two of five requests end with captures that differ from run to run. What a capture
// was used for is in places and scores.
func ofChance(name string) bool {
	return strings.HasPrefix(name, "sampling_rnd") || len(name) == 1 && name[0] >= '0' && name[0] <= '9'
}

// ownKey copies a key to an address of its own. An empty text has no address unless it is the beginning of something.
func ownKey(key string) string {
	if key == "" {
		return strings.Clone("-")[:0]
	}
	return strings.Clone(key)
}

// outcome reads what the rules said.
func outcome(tx transaction) Outcome {
	o := Outcome{Matched: map[int]int{}, Places: map[int][]Place{}, TX: map[string]string{}, Notes: map[string]string{}}
	if it := tx.Interruption(); it != nil {
		o.Interruption = &Interruption{it.RuleID, it.Status, it.Action}
	}
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		o.Matched[id]++
		for _, d := range m.MatchedDatas() {
			o.Places[id] = append(o.Places[id], Place{d.Variable().Name(), strings.Clone(d.Key()), strings.Clone(d.Value())})
		}
	}
	for id := range o.Places {
		o.Places[id] = sortedPlaces(o.Places[id])
	}
	vars := tx.Variables()
	found := map[string][]string{}
	for _, d := range vars.TX().FindAll() {
		if name := strings.ToLower(d.Key()); !ofChance(name) {
			found[name] = append(found[name], strings.Clone(d.Value()))
		}
	}
	for _, name := range slices.Collect(maps.Keys(found)) {
		slices.Sort(found[name])
		o.TX[name] = strings.Join(found[name], "\x00")
	}
	o.Notes["HIGHEST_SEVERITY"] = vars.HighestSeverity().Get()
	o.Notes["REQBODY_PROCESSOR"] = vars.RequestBodyProcessor().Get()
	return o
}
