package gate

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Zero values deny, wherever one may be forgotten.
func TestZeroValuesDeny(t *testing.T) {
	if (Verdict{}).Allowed() {
		t.Error("the zero verdict allows")
	}
	if (Verdict{Code: NotAllowed}).At("a").Showing("b").Fixed("c").With("D", "e").Allowed() {
		t.Error("a verdict that is told more about allows")
	}
	if !Allow().With("Allow", "GET").Allowed() {
		t.Error("Allow denies")
	}
	if (Risk{}).Accepted(time.Now()) || (Risk{Until: time.Now().Add(time.Hour)}).Accepted(time.Now()) {
		t.Error("a risk without a reason is accepted")
	}
	var x Exchange
	if tree, v := x.Body(t.Context()); tree != nil || v.Allowed() || v.Reason != "body.unread" {
		t.Errorf("a body that nobody gave: %v %+v", tree, v)
	}
	if x.Principal() != nil {
		t.Error("the zero exchange has a caller")
	}
}

func TestRiskEnds(t *testing.T) {
	end := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		risk Risk
		now  time.Time
		want bool
	}{
		{Risk{AcceptRisk: "why"}, end, true},
		{Risk{AcceptRisk: "why", Until: end}, end.Add(-time.Nanosecond), true},
		{Risk{AcceptRisk: "why", Until: end}, end, false},
	} {
		if got := c.risk.Accepted(c.now); got != c.want {
			t.Errorf("%+v at %s: %v", c.risk, c.now, got)
		}
	}
}

// Facts are set once: two identities, or two bodies, for one request are a fault and not a choice.
func TestWrongUses(t *testing.T) {
	for name, use := range map[string]func(*Exchange){
		"identified twice": func(x *Exchange) { x.Identify(Principal{Subject: "a"}); x.Identify(Principal{Subject: "a"}) },
		"body set twice":   func(x *Exchange) { x.SetBody(empty); x.SetBody(empty) },
		"body set after it was read": func(x *Exchange) {
			x.SetBody(empty)
			_, _ = x.Body(context.Background())
			x.SetBody(empty)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			use(&Exchange{})
		}()
	}
}

func empty(context.Context) (*body.Tree, Verdict) { return &body.Tree{}, Allow() }

// Every guard gets the same tree, or the same denial, and the body is read once.
func TestBodyIsReadOnce(t *testing.T) {
	for _, want := range []Verdict{Allow(), Deny(BadRequest, "body.duplicate_member", "twice")} {
		var x Exchange
		read := 0
		x.SetBody(func(context.Context) (*body.Tree, Verdict) {
			read++
			if !want.Allowed() {
				return nil, want
			}
			return &body.Tree{}, want
		})
		first, v := x.Body(t.Context())
		second, w := x.Body(t.Context())
		if read != 1 || first != second || first != x.ReadBody() || v.Allowed() != want.Allowed() || w.Allowed() != want.Allowed() || w.Reason != want.Reason {
			t.Errorf("read %d times: %+v, then %+v", read, v, w)
		}
	}
}

func TestSlotsAreTheirOwners(t *testing.T) {
	mine, other := NewSlot[int](), NewSlot[int]()
	var x, y Exchange
	mine.Set(&x, 1)
	mine.Set(&x, 2)
	if v, ok := mine.Get(&x); !ok || v != 2 {
		t.Errorf("got %d, %v", v, ok)
	}
	if _, ok := other.Get(&x); ok {
		t.Error("another slot of the same type sees it")
	}
	if _, ok := mine.Get(&y); ok {
		t.Error("another exchange has it")
	}
}

// Two callers of two issuers never share a key, however the names are cut.
func TestKeysOfCallers(t *testing.T) {
	a, b := Principal{Issuer: "https://a", Subject: "b"}, Principal{Issuer: "https://ab", Subject: ""}
	if a.Key() == b.Key() {
		t.Error("two callers with one key")
	}
}

// The public words are few, and each has a status of an error.
func TestCodes(t *testing.T) {
	codes := Codes()
	if len(codes) == 0 || len(codes) > 25 {
		t.Errorf("%d codes", len(codes))
	}
	for _, c := range codes {
		if s := c.Status(); s < 400 || s > 599 {
			t.Errorf("%s has status %d", c, s)
		}
		if back := CodeFor(c.Status()); back.Status() != c.Status() {
			t.Errorf("%s: %d leads to %s", c, c.Status(), back)
		}
	}
	if Code("nonsense").Status() != http.StatusInternalServerError || CodeFor(299) != Internal {
		t.Error("what is unknown is not an internal error")
	}
}

func TestMask(t *testing.T) {
	for value, want := range map[string]string{
		"":                  "(0 characters)",
		"short":             "(5 characters)",
		"elevenchars":       "(11 characters)",
		"a-secret-of-more":  `"a-"…"re" (16 characters)`,
		"äöüäöüäöüäöü\x1b[": `"äö"…"\x1b[" (14 characters)`,
	} {
		if got := Mask(value); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	if strings.Contains(Mask(strings.Repeat("x", 5)+"secret"+strings.Repeat("y", 5)), "secret") {
		t.Error("the middle is shown")
	}
}
