package referee

import (
	"os"
	"sync"
	"testing"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

func TestMain(m *testing.M) {
	if os.Getenv("REFEREE_TOUCHED") != "" { // see TestATouchedRefereeIsRefused
		plugins.RegisterOperator("rx", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return never{}, nil })
	}
	os.Exit(Main(m))
}

type never struct{}

func (never) Evaluate(plugintypes.TransactionState, string) bool { return false }

// world is what the tests here share. The referee ends with the test binary.
type world struct {
	directives string
	referee    *Referee
	collector  *Collector
	plain      Plain
	rules      []Rule
	suite      []Test
}

var shared = sync.OnceValues(func() (w world, err error) {
	if w.directives, err = ReadDirectives("../rules.go", "directives"); err != nil {
		return w, err
	}
	if w.referee, err = Start(w.directives); err != nil {
		return w, err
	}
	if w.collector, err = NewCollector(w.directives); err != nil {
		return w, err
	}
	if w.plain.Engine, err = NewEngine(w.directives); err != nil {
		return w, err
	}
	if w.rules, err = CoreRules(); err != nil {
		return w, err
	}
	w.suite, err = Suite()
	return w, err
})

func the(t testing.TB) world {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// long tells whether there are hours.
func long() bool { return os.Getenv("GATEHOUSE_SOAK") != "" }

// every is one of how many cases a test takes: all of them when there are hours, few of them under the race detector, which
// makes the engine ten times slower and finds nothing in what it judges.
func every(usual int) int {
	switch {
	case long():
		return 1
	case raced:
		return 40 * usual
	}
	return usual
}

// runs is how often the referee judges at first: three times when there are hours. Once is enough otherwise: where a
// candidate differs it is asked again, up to two hundred times, before the difference is believed.
func runs() int {
	if long() {
		return 3
	}
	return 1
}

// thin takes every n-th.
func thin[T any](list []T, n int) (some []T) {
	for i := 0; i < len(list); i += n {
		some = append(some, list[i])
	}
	return some
}
