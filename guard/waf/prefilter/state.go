package prefilter

import (
	"regexp"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// idle is the transaction that the engine's operators are given here: TX can be read; nothing can be changed.
type idle struct{ tx map[string]string }

func (s idle) ID() string                                              { return "" }
func (s idle) Variables() plugintypes.TransactionVariables             { return nil }
func (s idle) Interrupt(*types.Interruption)                           {}
func (s idle) DebugLogger() debuglog.Logger                            { return debuglog.Noop() }
func (s idle) Capturing() bool                                         { return false }
func (s idle) CaptureField(int, string)                                {}
func (s idle) LastPhase() types.RulePhase                              { return types.PhaseRequestBody }
func (s idle) Collection(variables.RuleVariable) collection.Collection { return constants(s.tx) }

// capturing is an idle that remembers what an operator captured.
type capturing struct {
	idle
	fields *[]string
}

func (s capturing) Capturing() bool { return true }

func (s capturing) CaptureField(i int, value string) {
	for len(*s.fields) <= i {
		*s.fields = append(*s.fields, "")
	}
	(*s.fields)[i] = value
}

// constants is TX as macros read it.
type constants map[string]string

// Get gives the value of a variable.
func (c constants) Get(key string) []string {
	if v, ok := c[key]; ok {
		return []string{v}
	}
	return nil
}

// Name is that of the collection.
func (c constants) Name() string { return "TX" }

// FindAll is asked by no operator.
func (c constants) FindAll() []types.MatchData { return nil }

// FindRegex is asked by no operator.
func (c constants) FindRegex(*regexp.Regexp) []types.MatchData { return nil }

// FindString is asked by no operator.
func (c constants) FindString(string) []types.MatchData { return nil }
