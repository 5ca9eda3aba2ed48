package secrule

import (
	"regexp"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Idle is the transaction that the engine's operators are given when they are asked beforehand: TX can be read; nothing can
// be changed.
type Idle struct{ TX map[string]string }

// ID is nobody's.
func (Idle) ID() string { return "" }

// Variables is read by no operator that is asked.
func (Idle) Variables() plugintypes.TransactionVariables { return nil }

// Interrupt does nothing.
func (Idle) Interrupt(*types.Interruption) {}

// DebugLogger writes nothing.
func (Idle) DebugLogger() debuglog.Logger { return debuglog.Noop() }

// Capturing is false: groups are not wanted.
func (Idle) Capturing() bool { return false }

// CaptureField drops a group.
func (Idle) CaptureField(int, string) {}

// LastPhase is that of a request that was read.
func (Idle) LastPhase() types.RulePhase { return types.PhaseRequestBody }

// Collection is TX, whichever is asked for.
func (s Idle) Collection(variables.RuleVariable) collection.Collection { return constants(s.TX) }

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
