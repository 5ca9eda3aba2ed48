package confine_test

import (
	"fmt"
	"sync"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
)

// TestConcurrently: several derive scopes from the same rules at once, and each comes to the same.
func TestConcurrently(t *testing.T) {
	rules, err := confine.NewRules(the(t).list, coreruleset.FS) // with nothing proved yet
	if err != nil {
		t.Fatal(err)
	}
	contracts := shops(t)
	said := make([]string, 4)
	var all sync.WaitGroup
	for n := range said {
		all.Go(func() {
			for _, c := range contracts {
				for _, op := range c.Operations {
					s, err := confine.New(op, rules)
					if err != nil {
						said[n] = err.Error()
						return
					}
					for _, f := range s.Fields() {
						said[n] += fmt.Sprintln(f.In, f.Name, s.Inspection(f, 1), s.Inspection(f, 4))
					}
				}
			}
		})
	}
	all.Wait()
	for n := range said {
		if said[n] != said[0] || said[n] == "" {
			t.Errorf("%d says %q, the first %q", n, said[n], said[0])
		}
	}
}
