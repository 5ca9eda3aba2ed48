package referee

import (
	"os"
	"sync"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// one is the referee that the tests here share. It ends with the test binary.
var one = sync.OnceValues(func() (*Referee, error) { return Start(theDirectives()) })

func theDirectives() string {
	text, err := ReadDirectives("../rules.go", "directives")
	if err != nil {
		panic(err)
	}
	return text
}

func referee(t testing.TB) *Referee {
	t.Helper()
	r, err := one()
	if err != nil {
		t.Fatal(err)
	}
	return r
}
