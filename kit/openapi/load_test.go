package openapi

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// files is a reader of files in memory.
func files(pairs ...string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == path {
				return []byte(pairs[i+1]), nil
			}
		}
		return nil, fmt.Errorf("%s: %w", path, os.ErrNotExist)
	}
}

func load(t testing.TB, contract string, more ...string) *Contract {
	t.Helper()
	c, err := Load("api/c.yaml", files(append([]string{"api/c.yaml", contract}, more...)...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mistakes(t testing.TB, contract string, more ...string) mistake.List {
	t.Helper()
	c, err := Load("api/c.yaml", files(append([]string{"api/c.yaml", contract}, more...)...))
	var list mistake.List
	if err != nil && !errors.As(err, &list) {
		t.Fatalf("%T is no mistake.List", err)
	}
	if (err == nil) != (c != nil) {
		t.Fatalf("contract %v and error %v", c, err)
	}
	return list
}

func TestGenerated(t *testing.T) {
	c := load(t, string(generate(200)))
	if len(c.Operations) != 200 || c.Base != "/v1" || len(c.Warnings) != 0 {
		t.Fatalf("%d operations, base %q, warnings %v", len(c.Operations), c.Base, c.Warnings)
	}
	op := c.Operations[0]
	t.Logf("%+v", op)
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{200, 10_000} {
		contract := string(generate(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				load(b, contract)
			}
		})
	}
}
