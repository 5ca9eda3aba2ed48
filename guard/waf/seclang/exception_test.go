package seclang

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func good(e Exception) Exception {
	e.Author, e.Reason, e.Until = "ann", "the rule errs", today.AddDate(0, 1, 0)
	if e.Rule == 0 {
		e.Rule = 942100
	}
	return e
}

// Every exception says who, why and until when, and nothing wider than it looks (rows G1, G20).
func TestExceptionsAreChecked(t *testing.T) {
	for want, e := range map[string]Exception{
		"author":        {Rule: 942100, Reason: "x", Until: today.AddDate(0, 1, 0)},
		"reason":        {Rule: 942100, Author: "x", Reason: " ", Until: today.AddDate(0, 1, 0)},
		"until":         {Rule: 942100, Author: "x", Reason: "x"},
		"within a ye":   {Rule: 942100, Author: "x", Reason: "x", Until: today.AddDate(5, 0, 0)},
		"no rule 5":     good(Exception{Rule: 5}),
		"no rule -1":    good(Exception{Rule: -1}),
		"rule 949110":   good(Exception{Rule: 949110}),
		"rule 901100":   good(Exception{Rule: 901100}),
		"rule 100000":   good(Exception{Rule: 100000}),
		`"addRevew"`:    good(Exception{Operation: "addRevew"}),
		`"off" is no`:   good(Exception{Mode: "off"}),
		"every value":   good(Exception{Argument: "json.*"}),
		"stand alone":   good(Exception{Argument: "json.a*.b"}),
		`"header:"`:     good(Exception{Argument: "header:"}),
		"no name":       good(Exception{Argument: "a\nb"}),
		`" x" is no na`: good(Exception{Argument: " x"}),
	} {
		_, err := NewExceptions([]Exception{e}, func(n int) bool { return n > 900000 || n == 100000 }, []string{"addReview"}, today)
		var list mistake.List
		if !errors.As(err, &list) || len(list) != 1 || !strings.HasPrefix(list[0].Path, "[0].") || !strings.Contains(list[0].Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

type removed []string

func (r *removed) RemoveRuleByID(id int) { *r = append(*r, "all") }
func (r *removed) RemoveRuleTargetByID(id int, v variables.RuleVariable, key string, rx *regexp.Regexp) {
	*r = append(*r, v.Name()+":"+key)
}

// An exception holds in its operation, up to its day, and not a moment longer.
func TestExceptionsEnd(t *testing.T) {
	e := good(Exception{Operation: "addReview"})
	x, err := NewExceptions([]Exception{e}, nil, []string{"addReview"}, today)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		operation string
		at        time.Time
		want      int
	}{
		{"addReview", today, 1}, {"other", today, 0}, {"addReview", e.Until.Add(-1), 1}, {"addReview", e.Until, 0}, {"addReview", e.Until.Add(1), 0},
	} {
		var r removed
		x.For(c.operation, c.at).Apply(&r)
		if len(r) != c.want {
			t.Errorf("%s at %s: %v", c.operation, c.at, r)
		}
	}
	if len(x.Expired(e.Until)) != 1 || len(x.Expired(today)) != 0 || len(x.Ending(today, 40*24*time.Hour)) != 1 || len(x.Ending(today, time.Hour)) != 0 || len(x.Ending(e.Until, time.Hour)) != 0 {
		t.Error("who ends is told wrongly")
	}
	if new(Exceptions).For("", today).Covers(942100, "ARGS", "x") {
		t.Error("the zero Exceptions except something")
	}
}

// What Covers says is what the engine does, for every kind of argument.
func TestCoversIsTheEngine(t *testing.T) {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(`
SecRuleEngine On
SecRequestBodyAccess On
SecRule ARGS|ARGS_NAMES|REQUEST_HEADERS|REQUEST_COOKIES "@contains attack" "id:942100,phase:2,deny,msg:'a'"`))
	if err != nil {
		t.Fatal(err)
	}
	places := [][2]string{
		{"ARGS", "note"}, {"ARGS", "Note"}, {"ARGS", "notes"}, {"ARGS", "json.items.0.note"}, {"ARGS", "json.items.12.note"}, {"ARGS", "json.items.x.note"},
		{"ARGS", "json.items.0.note.a"}, {"ARGS", "json.items.0.0.note"}, {"ARGS", "xjson.items.0.note"}, {"ARGS", "json.items.*.note"}, {"ARGS", "json.Note.0"}, {"ARGS_NAMES", "attack"},
		{"REQUEST_HEADERS", "x-note"}, {"REQUEST_HEADERS", "x-other"}, {"REQUEST_COOKIES", "note"}, {"REQUEST_COOKIES", "other"}, {"ARGS", ""},
	}
	covered := 0
	for _, e := range []Exception{
		{}, {Argument: "note"}, {Argument: "json.items.*.note"}, {Argument: "json.note.*"}, {Argument: "header:X-Note"}, {Argument: "cookie:note"}, {Argument: "json.items.*.Note"}, {Rule: 942101}, {Mode: Detect, Argument: "note"},
	} {
		x, err := NewExceptions([]Exception{good(e)}, nil, nil, today)
		if err != nil {
			t.Fatal(err)
		}
		applied := x.For("", today)
		for _, p := range places {
			tx := waf.NewTransactionWithID("x").(interface {
				types.Transaction
				Remover
			})
			applied.Apply(tx)
			switch p[0] {
			case "ARGS":
				tx.AddPostRequestArgument(p[1], "attack")
			case "ARGS_NAMES":
				tx.AddPostRequestArgument(p[1], "")
			case "REQUEST_HEADERS":
				tx.AddRequestHeader(p[1], "attack")
			case "REQUEST_COOKIES":
				tx.AddRequestHeader("Cookie", p[1]+"=attack") // the header too: it holds the cookie
				tx.(Remover).RemoveRuleTargetByID(942100, variables.RequestHeaders, "", nil)
			}
			tx.ProcessRequestHeaders()
			it, err := tx.ProcessRequestBody()
			if err != nil {
				t.Fatal(err)
			}
			if got := applied.Covers(942100, p[0], p[1]); got != (it == nil) {
				t.Errorf("%v at %v: covers %v, the engine says %v", e, p, got, it)
			} else if got {
				covered++
			}
			_ = tx.Close()
		}
	}
	if covered < 25 {
		t.Errorf("only %d covered", covered)
	}
	x, _ := NewExceptions([]Exception{good(Exception{Mode: Detect, Argument: "note"}), good(Exception{Argument: "b"})}, nil, nil, today)
	var off removed
	x.For("", today).ApplyOff(&off)
	if !x.For("", today).Detects() || slices.Contains(off, "ARGS:note") || !slices.Contains(off, "ARGS:b") {
		t.Error(off)
	}
}

// What is proposed can be pasted: a name that a client chose does not become more of the document than a name.
func TestAnExceptionIsWritten(t *testing.T) {
	for want, e := range map[string]Exception{
		"{rule: 1, argument: a.b}":                                 {Rule: 1, Argument: "a.b"},
		`{rule: 1, argument: "header:x", operation: "GET /a/{b}"}`: {Rule: 1, Argument: "header:x", Operation: "GET /a/{b}"},
		`{rule: 1, argument: "a}, {rule: 2"}`:                      {Rule: 1, Argument: "a}, {rule: 2"},
		`{rule: 1, argument: "json.*.a", until: 2026-11-22}`:       {Rule: 1, Argument: "json.*.a", Until: today},
		`{rule: 1, argument: "no"}`:                                {Rule: 1, Argument: "no"},
	} {
		if e.String() != want {
			t.Errorf("%s, want %s", e, want)
		}
	}
}
