package confine_test

import (
	"github.com/corazawaf/coraza/v3/types/variables"
	"testing"
)

func TestLeft(t *testing.T) {
	w := the(t)
	c := load(t, `openapi: 3.1.0
info: {title: t, version: "1"}
paths:
  /a:
    get:
      security: []
      parameters:
        - {name: i, in: query, schema: {type: integer}}
        - {name: u, in: query, schema: {type: string, format: uuid}}
        - {name: d, in: query, schema: {type: string, format: date-time}}
        - {name: c, in: query, schema: {type: string, pattern: '^[A-Z]{3}$'}}
        - {name: n, in: query, schema: {type: number}}
        - {name: k, in: query, schema: {type: string, pattern: '^[A-Za-z0-9_-]+$', maxLength: 64}}
      responses: {"200": {description: x}}
`)
	s := w.scope(t, c.Operations[0])
	for _, f := range s.Fields() {
		t.Log(f.Name, s.Inspection(f, 1), s.Inspection(f, 4))
		n := 0
		for _, r := range w.list {
			if r.Test == nil || r.Phase > 2 || s.Skips(r.ID, variables.ArgsGet, f.Name) {
				continue
			}
			for _, x := range r.Targets {
				if x.Variable.Name() == "ARGS" || x.Variable.Name() == "ARGS_GET" {
					if n++; n < 12 {
						t.Logf("   %d %s %.100q %v", r.ID, r.Test.Name, r.Test.Argument, r.Chain.Names)
					}
					break
				}
			}
		}
	}
}
