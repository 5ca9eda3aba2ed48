package expression

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"

	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// longestNumber bounds the digits of a number that is compared exactly; kit/body admits no more.
const longestNumber = 400

// number gives a JSON number without changing it: an integer, however it is written, as an int or a uint where it is one, a
// fraction as the nearest double, as it is in the expression that it is compared with, and everything else as an exact one.
func number(text string) ref.Val {
	if !strings.ContainsAny(text, ".eE") {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return celtypes.Int(i)
		}
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f != math.Trunc(f) {
		return celtypes.Double(f)
	}
	if !bounded(text) {
		return celtypes.NewErr("a number is longer than %d digits", longestNumber)
	}
	r, ok := new(big.Rat).SetString(text)
	switch {
	case !ok:
		return celtypes.NewErr("what should be a number is none")
	case r.IsInt() && r.Num().IsInt64():
		return celtypes.Int(r.Num().Int64())
	case r.IsInt() && r.Num().IsUint64():
		return celtypes.Uint(r.Num().Uint64())
	}
	return exact{r, text}
}

// bounded tells that calculating with a number stays cheap.
func bounded(text string) bool {
	mantissa, exponent, found := strings.Cut(strings.ToLower(text), "e")
	if !found {
		return len(mantissa) <= longestNumber
	}
	n, err := strconv.Atoi(exponent)
	return err == nil && len(mantissa) <= longestNumber && n <= longestNumber && n >= -longestNumber
}

// exactType is what the expression type(x) gives for an exact number.
var exactType = celtypes.NewObjectType("gatehouse.number", traits.ComparerType)

// exact is a number that is neither an int nor a uint, nor near enough to a double: it can be compared, and nothing else. To calculate with it is
// an error, since the result would be rounded.
type exact struct {
	is   *big.Rat
	text string
}

// Compare orders an exact number and any other.
func (n exact) Compare(other ref.Val) ref.Val {
	r := new(big.Rat)
	switch o := other.(type) {
	case celtypes.Int:
		r.SetInt64(int64(o))
	case celtypes.Uint:
		r.SetUint64(uint64(o))
	case celtypes.Double:
		switch f := float64(o); {
		case math.IsNaN(f):
			return celtypes.NewErr("NaN values cannot be ordered")
		case math.IsInf(f, 1):
			return celtypes.IntNegOne
		case math.IsInf(f, -1):
			return celtypes.IntOne
		default:
			r.SetFloat64(f)
		}
	case exact:
		r = o.is
	default:
		return celtypes.MaybeNoSuchOverloadErr(other)
	}
	return celtypes.Int(n.is.Cmp(r))
}

// Equal is false of every other kind of number: what equals one of those is one of those.
func (n exact) Equal(other ref.Val) ref.Val {
	o, ok := other.(exact)
	return celtypes.Bool(ok && n.is.Cmp(o.is) == 0)
}

// ConvertToType gives the number as it was written; every other conversion would change it.
func (n exact) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case celtypes.StringType:
		return celtypes.String(n.text)
	case celtypes.TypeType:
		return exactType
	}
	return celtypes.NewErr("the number has no exact form as %s", t.TypeName())
}

// ConvertToNative is asked for by nobody.
func (n exact) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a number has no exact form as %v", t)
}

// Type names the kind.
func (n exact) Type() ref.Type { return exactType }

// Value is the number as it was written.
func (n exact) Value() any { return n.text }
