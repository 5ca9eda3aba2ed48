package confine_test

import (
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// BenchmarkFind is what a look-up costs for each value of a request.
func BenchmarkFind(b *testing.B) {
	s := the(b).scope(b, load(b, wide).Operations[0])
	b.ReportAllocs()
	for b.Loop() {
		s.Find(variables.ArgsPost, "json.items.17.ship_to.zip", "12345")
	}
}
