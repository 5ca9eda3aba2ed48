package expression

import (
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// What the head of a request may hold at most, when its cost is told before any comes. A body is not bounded here: a
// condition that walks over one is watched while it is judged.
const (
	longestText = 64 << 10
	mostNames   = 256
)

// sizes tells CEL how large the parts of a request's head can be.
type sizes struct{}

// EstimateSize knows what comes from a head.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		return nil
	}
	inClaims := len(path) > 1 && path[1] == "claims"
	switch {
	case path[0] == "body", inClaims, path[0] != "value" && path[0] != "request" && path[0] != "params" && path[0] != "caller":
		return nil
	case n.Type().Kind() == celtypes.StringKind:
		return &cost.SizeEstimate{Max: longestText}
	case n.Type().Kind() == celtypes.MapKind, n.Type().Kind() == celtypes.ListKind:
		return &cost.SizeEstimate{Max: mostNames}
	}
	return nil
}

// EstimateCallCost leaves the cost of functions as CEL has it.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// actual counts what CEL doesn't: to compare a part of a body is to go over all that it holds.
type actual struct{}

// CallCost counts comparisons and looks into parts of a body.
func (actual) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	if function != operators.Equals && function != operators.NotEquals && function != operators.In {
		return nil
	}
	var n uint64
	for _, a := range args {
		switch v := a.(type) {
		case mapping:
			n += uint64(v.in.nodes[v.i].Next - v.i)
		case array:
			n += uint64(v.in.nodes[v.i].Next - v.i)
		}
	}
	if n == 0 {
		return nil
	}
	return &n
}
