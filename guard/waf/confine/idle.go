package confine

import (
	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// idle is the transaction that the engine's operators are given here: it holds nothing and can't be changed.
type idle struct{}

func (idle) ID() string                                              { return "" }
func (idle) Variables() plugintypes.TransactionVariables             { return nil }
func (idle) Interrupt(*types.Interruption)                           {}
func (idle) DebugLogger() debuglog.Logger                            { return debuglog.Noop() }
func (idle) Capturing() bool                                         { return false }
func (idle) CaptureField(int, string)                                {}
func (idle) LastPhase() types.RulePhase                              { return types.PhaseRequestBody }
func (idle) Collection(variables.RuleVariable) collection.Collection { return nil }
