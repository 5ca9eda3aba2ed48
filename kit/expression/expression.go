// Package expression is the one place that knows CEL, the language of conditions: over a request in canonical form, its path
// parameters, its body tree and its caller. A condition is checked completely when it is loaded: an unknown name or field, a
// comparison that can't be, a pattern that is no pattern and anything that isn't true or false is refused there, with line,
// column and the word that was probably meant. It promises that judging a request is bounded, that integers beyond 64 bits
// are never rounded (a rounded number is a comparison that somebody can walk round), and that nothing of a request is ever
// taken for an expression or a pattern: only what an operator wrote is.
//
// An error while judging, such as a property that isn't there, is given back as an error and never as false: who asks
// decides, and a guard denies.
package expression

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// Bounds of an expression's text, so that what it takes to load one is bounded too.
const (
	MaxText    = 4096 // characters
	maxDepth   = 60   // of nested terms
	maxPattern = 2000 // instructions of a compiled pattern
)

// DefaultCost bounds what judging one request may cost when a Scope names nothing else; see Scope.Cost. A step takes up to a
// microsecond.
const DefaultCost = 100_000

// Scope says what an expression may speak of. The zero Scope admits any name of a path parameter and has no value.
type Scope struct {
	Claims bool     // the one variable is claims, those of a verified token, and there are functions that take texts apart: for CompileWords
	Params []string // names of the path's parameters, so that another name is a mistake; nil: they aren't known, any name is admitted
	Value  Type     // of the variable value; the zero Type: there is none
	Cost   uint64   // most that judging one request may cost, in steps: one for each term that is evaluated, and for as many bytes as can be searched meanwhile; 0: DefaultCost
}

// Type is what is known of a value before any request comes.
type Type int

// The types of the variable value.
const (
	Nothing  Type = iota // there is no such variable
	Text                 // a string
	Anything             // whatever stands there: a string, a number, a list, a map, null
)

// Environment loads expressions of one Scope. Many goroutines may use it.
type Environment struct {
	env   *cel.Env
	types *types
	scope Scope
	turn  sync.Mutex // while types notes what is looked for
}

// New makes an Environment. Making one takes a while: keep it.
func New(s Scope) (*Environment, error) {
	if s.Cost == 0 {
		s.Cost = DefaultCost
	}
	e := &Environment{scope: s, types: newTypes(s)}
	options := append([]cel.EnvOption{
		cel.CustomTypeProvider(e.types), cel.CustomTypeAdapter(e.types),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true), cel.StrictTimestampParsing(true),
		cel.ParserExpressionSizeLimit(MaxText), cel.ParserRecursionLimit(maxDepth), cel.RegexProgramSizeLimit(maxPattern),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	}, e.types.variables()...)
	if s.Claims {
		options = append(options, ext.Strings(ext.StringsVersion(5)))
	}
	var err error
	if e.env, err = cel.NewEnv(options...); err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	return e, nil
}

// Condition is a loaded expression that is true or false of a request. Many goroutines may use it.
type Condition struct {
	text    string
	program cel.Program // counts its steps
	quick   cel.Program // doesn't; nil where the bound isn't known
	reads   []string
	cost    Cost
}

// Cost is what judging one request may cost, as far as it is known when the expression is loaded.
type Cost struct {
	Least, Most uint64
	Bounded     bool // Most holds for every request; else judging stops with an error at the Scope's Cost
}

// Compile loads an expression, or gives all of its Faults.
func (e *Environment) Compile(text string) (*Condition, error) {
	if text == "" {
		return nil, Faults{{Line: 1, Column: 1, What: "the condition is empty", Write: "true, for every request at this place"}}
	}
	return e.load(text, func(is *cel.Type) Faults {
		if is.IsExactType(cel.BoolType) {
			return nil
		}
		return Faults{{Line: 1, Column: 1, What: fmt.Sprintf("the condition is %s, not true or false", article(is)), Write: "a comparison, such as " + abridged(text) + " == ..."}}
	})
}

// load checks an expression and what it comes to, and makes it ready.
func (e *Environment) load(text string, judge func(is *cel.Type) Faults) (*Condition, error) {
	e.turn.Lock()
	defer e.turn.Unlock()
	e.types.missing = nil
	checked, issues := e.env.Compile(text)
	if issues.Err() != nil {
		return nil, e.faults(issues)
	}
	if faults := judge(checked.OutputType()); len(faults) > 0 {
		return nil, faults
	}
	c := &Condition{text: text}
	if faults := c.walk(checked.NativeRep()); len(faults) > 0 {
		return nil, faults
	}
	estimate, err := e.env.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, Faults{{Line: 1, Column: 1, What: "what it may cost can't be told: " + err.Error()}}
	}
	c.cost = Cost{Least: estimate.Min, Most: estimate.Max, Bounded: estimate.Max <= e.scope.Cost && estimate.Max < math.MaxUint64}
	if estimate.Min > e.scope.Cost {
		return nil, Faults{{Line: 1, Column: 1, What: fmt.Sprintf("judging one request costs at least %d, and may cost at most %d", estimate.Min, e.scope.Cost)}}
	}
	optimized := cel.EvalOptions(cel.OptOptimize)
	if c.program, err = e.env.Program(checked, optimized, cel.CostLimit(e.scope.Cost), cel.CostTracking(actual{})); err == nil && c.cost.Bounded {
		c.quick, err = e.env.Program(checked, optimized)
	}
	if err != nil {
		return nil, Faults{{Line: 1, Column: 1, What: err.Error()}}
	}
	return c, nil
}

// String gives the expression as it was written.
func (c *Condition) String() string { return c.text }

// Reads tells whether the condition speaks of a variable, such as "body": what nobody speaks of need not be read.
func (c *Condition) Reads(variable string) bool { return slices.Contains(c.reads, variable) }

// Cost tells what judging one request may cost.
func (c *Condition) Cost() Cost { return c.cost }

// walk notes what the expression reads, and refuses what no condition needs: messages, and patterns that aren't written in
// the expression, since they might come from a request.
func (c *Condition) walk(tree *ast.AST) (faults Faults) {
	at := func(id int64) (line, column int) {
		l := tree.SourceInfo().GetStartLocation(id)
		return max(1, l.Line()), max(1, l.Column()+1)
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			if name := e.AsIdent(); !slices.Contains(c.reads, name) {
				c.reads = append(c.reads, name)
			}
		case ast.StructKind:
			line, column := at(e.ID())
			faults = append(faults, Fault{line, column, "a condition makes no messages", ""})
		case ast.LiteralKind:
			if d, ok := e.AsLiteral().(celtypes.Double); ok && math.Abs(float64(d)) >= 1<<53 {
				line, column := at(e.ID())
				faults = append(faults, Fault{line, column, "a number this large with a point or an exponent stands for several integers", "it as an integer"})
			}
		case ast.CallKind:
			call := e.AsCall()
			if slices.Contains(growing(), call.FunctionName()) {
				line, column := at(e.ID())
				faults = append(faults, Fault{line, column, call.FunctionName() + " can make a long text of short ones, and is not offered", ""})
			}
			if args := call.Args(); call.FunctionName() == overloads.Matches && args[len(args)-1].Kind() != ast.LiteralKind {
				line, column := at(args[len(args)-1].ID())
				faults = append(faults, Fault{line, column, "a pattern must be written in the expression: one that comes from elsewhere could come from a request", `matches("...")`})
			}
		}
	}))
	return faults
}

// ErrCost says that judging this request would cost more than the Scope admits.
var ErrCost = errors.New("judging this request would cost too much")
