package waf

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// G21: what would use up the processor is denied when its time is up, and not let through.
func TestTimeIsUp(t *testing.T) {
	long := sample{method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: `["` + strings.Repeat(`union select sleep(1) or 1=1 -- <a href=x> `, 400) + `"]`}
	v := guard(t, Config{Budget: time.Microsecond}).Check(t.Context(), long.exchange())
	if v.Allowed() || v.Code != gate.TooLarge || v.Reason != ReasonBudget || v.Fix == "" {
		t.Errorf("%+v", v)
	}
	if v := guard(t, Config{Budget: time.Hour}).Check(t.Context(), long.exchange()); v.Code != gate.Attack {
		t.Errorf("with time enough: %+v", v)
	}
}
