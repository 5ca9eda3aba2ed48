package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	source "github.com/gatehouse-sec/gatehouse/config/manual"
)

// TestManualIsFresh: the comments beside the fields are the manual. go generate ./cmd/gatehouse
func TestManualIsFresh(t *testing.T) {
	fresh, err := source.Document("../..")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh, manualJSON) {
		t.Error("manual.json is not what the comments say; run: go generate ./cmd/gatehouse")
	}
}

// TestGeneratedPages: docs hold what the program prints.
func TestGeneratedPages(t *testing.T) {
	for file, args := range map[string][]string{"gatehouse.schema.json": {"schema"}, "reference.md": {"schema", "--reference"}} {
		var out, problems bytes.Buffer
		if code := run(t.Context(), args, stdio{nil, &out, &problems}); code != 0 {
			t.Fatalf("%v: %s", args, problems.String())
		}
		written, err := os.ReadFile(filepath.Join("../../docs", file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written, out.Bytes()) {
			t.Errorf("docs/%s is not what gatehouse %v prints; run: go generate ./cmd/gatehouse", file, args)
		}
	}
}
