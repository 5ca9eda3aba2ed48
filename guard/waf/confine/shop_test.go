package confine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// shops are the contracts of the shop.
func shops(t testing.TB) (list []*openapi.Contract) {
	t.Helper()
	paths, err := filepath.Glob("../../../examples/shop/contracts/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no contract of the shop, %v", err)
	}
	for _, path := range paths {
		c, err := openapi.Load(path, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}
