package openapi

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBudget: G11, alternatives that contain themselves don't multiply.
func TestBudget(t *testing.T) {
	c := load(t, "openapi: 3.1.0\npaths:\n  /a:\n    post:\n      requestBody: {content: {application/json: {schema: {type: object, properties: {f: {$ref: '#/components/schemas/Filter'}}}}}}\n"+`
components:
  schemas:
    Filter: {oneOf: [{$ref: '#/components/schemas/And'}, {$ref: '#/components/schemas/Or'}, {$ref: '#/components/schemas/Is'}]}
    And: {type: object, required: [op, of], properties: {op: {const: and}, of: {$ref: '#/components/schemas/Filter'}}}
    Or: {type: object, required: [op, of], properties: {op: {const: or}, of: {$ref: '#/components/schemas/Filter'}}}
    Is: {type: object, required: [op, v], properties: {op: {const: is}, v: {type: string}}}
`)
	nested := func(depth int, leaf string) string {
		return `{"f":` + strings.Repeat(`{"op":"and","of":`, depth) + `{"op":"is","v":` + leaf + `}` + strings.Repeat("}", depth) + "}"
	}
	if v := judgeBody(t, c, "/a", "application/json", nested(4, `"x"`)); v != nil {
		t.Errorf("a filter of four levels: %+v", v)
	}
	began := time.Now()
	v := judgeBody(t, c, "/a", "application/json", nested(28, `1`))
	if v == nil || v.Reason != badBody || !strings.Contains(v.What, "too many steps") {
		t.Errorf("got %+v", v)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if v := judgeBody(t, c, "/a", "application/json", `{"f":{"op":"is","v":1}}`); v == nil || v.Reason != badBody {
		t.Errorf("after a refusal nothing is judged: %+v", v)
	}
	var wait sync.WaitGroup
	for range 4 * mostJudges {
		wait.Go(func() {
			if v := judgeBody(t, c, "/a", "application/json", nested(3, `"x"`)); v != nil {
				t.Errorf("%+v", v)
			}
			if v := judgeBody(t, c, "/a", "application/json", nested(20, `1`)); v == nil {
				t.Error("too deep, and admitted")
			}
		})
	}
	wait.Wait()
}

// TestLongListsOfRecursion: what is long but not deep stays within its budget.
func TestLongListsOfRecursion(t *testing.T) {
	c := load(t, bodies)
	raw := `{"name":"x","tree":{"kids":[` + strings.TrimSuffix(strings.Repeat(`{"leaf":"a","kids":[{"leaf":"b"}]},`, 2000), ",") + `]}}`
	if v := judgeBody(t, c, "/order", "application/json", raw); v != nil {
		t.Errorf("%+v", v)
	}
}
