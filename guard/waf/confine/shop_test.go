package confine_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// TestShop tells what the contracts of the shop gain.
func TestShop(t *testing.T) {
	w := the(t)
	paths, err := filepath.Glob("../../../examples/shop/contracts/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no contract of the shop, %v", err)
	}
	for _, path := range paths {
		c, err := openapi.Load(path, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range c.Operations {
			begin := time.Now()
			s := w.scope(t, op)
			t.Log(op.ID, time.Since(begin))
			for _, f := range s.Fields() {
				t.Logf("   %s %s: PL1 %v, PL4 %v (%s) %s %s", f.In, f.Name, s.Inspection(f, 1), s.Inspection(f, 4), f.Why, f.Sink, f.Pointer)
			}
		}
	}
}
