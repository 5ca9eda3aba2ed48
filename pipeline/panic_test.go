package pipeline

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// panicker panics with what it is.
type panicker struct{ with any }

func (p panicker) Check(context.Context, *gate.Exchange) gate.Verdict { panic(p.with) }

func (p panicker) Review(context.Context, *gate.Exchange, *gate.Answer) gate.Verdict { panic(p.with) }

// index panics as Go does.
type index struct{}

func (index) Check(_ context.Context, x *gate.Exchange) gate.Verdict {
	return gate.Deny(gate.Internal, gate.Reason(x.Params[len(x.Params)].Name), "")
}

// silent says nothing, which denies.
type silent struct{}

func (silent) Check(context.Context, *gate.Exchange) gate.Verdict { return gate.Verdict{} }

func newTrip() *trip {
	return &trip{r: httptest.NewRequest(http.MethodGet, "/", nil), x: &gate.Exchange{}, site: &site{}, timing: timing{guards: map[string]int64{}}}
}

// TestPanicsDenyAndTellNothing: rows I7 and K1. A guard that panics has denied; the event names guard and place, never what
// the panic repeats of a request.
func TestPanicsDenyAndTellNothing(t *testing.T) {
	canary := "canary-" + strings.Repeat("x", 20)
	for _, with := range []any{canary, fmt.Errorf("parse %q", canary), struct{ s string }{canary}, http.Header{"Cookie": {canary}}, nil} {
		v := newTrip().ask([]stage{{name: "g", check: panicker{with}}})
		if v.Allowed() || v.Reason != "guard.panic" || v.Code != gate.Internal || strings.Contains(v.Detail, canary) || !strings.Contains(v.Detail, "g panicked") {
			t.Errorf("%T: %+v", with, v)
		}
		trip := newTrip()
		trip.checked = []*stage{{name: "g", review: panicker{with}}}
		if v := trip.review(t.Context(), &gate.Answer{}); v.Allowed() || v.Reason != "guard.panic" || strings.Contains(v.Detail, canary) {
			t.Errorf("%T at the answer: %+v", with, v)
		}
	}
	v := newTrip().ask([]stage{{name: "g", check: index{}}})
	if v.Reason != "guard.panic" || !strings.Contains(v.Detail, "index out of range") || !strings.Contains(v.Detail, "panic_test.go") {
		t.Errorf("%+v", v)
	}
	if v := newTrip().ask([]stage{{name: "g", check: silent{}}}); v.Allowed() || v.Reason != "guard.silent" || v.Code != gate.Internal {
		t.Errorf("%+v", v)
	}
}
