package expression

import (
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
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

// EstimateCallCost knows what looking for a text or a pattern takes.
func (sizes) EstimateCallCost(function, _ string, target *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	if target == nil || len(args) == 0 || function != overloads.Contains && function != overloads.Matches {
		return nil
	}
	length := (sizes{}).sizeOf(*target)
	if length == nil {
		return nil
	}
	pattern := uint64(longestText)
	if known := args[len(args)-1].ComputedSize(); known != nil {
		pattern = known.Max
	}
	return &cost.CallEstimate{CostEstimate: cost.Estimate{Min: 1, Max: search(function, length.Max, pattern)}}
}

func (s sizes) sizeOf(n cost.AstNode) *cost.SizeEstimate {
	if known := n.ComputedSize(); known != nil {
		return known
	}
	return s.EstimateSize(n)
}

// search is what looking through a text costs: CEL's own figures take a pattern for as expensive as steps that take a
// hundred times as long, and a large body would be too much for any condition.
func search(function string, length, wanted uint64) uint64 {
	if function == overloads.Contains {
		return 1 + length/500
	}
	return 1 + length/10*(1+wanted/100)
}

// actual counts what CEL doesn't: to compare a part of a body, or to join it with another, is to go over all that it holds.
type actual struct{}

// CallCost counts searches, and what goes over lists and maps.
func (actual) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	var n uint64
	switch function {
	case overloads.Contains, overloads.Matches:
		text, _ := args[0].(celtypes.String)
		wanted, _ := args[len(args)-1].(celtypes.String)
		n = search(function, uint64(len(text)), uint64(len(wanted)))
	case operators.Equals, operators.NotEquals, operators.In:
		for _, a := range args {
			n += weight(a)
		}
	case operators.Add: // a list of CEL's own is joined without looking at it
		if l, ok := args[0].(array); ok {
			n = weight(l) + weight(args[1])
		}
	}
	if n == 0 {
		return nil
	}
	return &n
}

// weight is how many values a list or a map holds, at any depth; of everything else none.
func weight(v ref.Val) (n uint64) {
	switch v := v.(type) {
	case mapping:
		return uint64(v.in.nodes[v.i].Next - v.i)
	case array:
		return uint64(v.in.nodes[v.i].Next - v.i)
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == celtypes.True; {
			value, _ := v.Find(it.Next())
			n += 1 + weight(value)
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == celtypes.True; {
			n += 1 + weight(it.Next())
		}
	}
	return n
}
