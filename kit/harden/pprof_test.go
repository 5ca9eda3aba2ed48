package harden_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// K7: the program has no profiler on board that would write the heap, and the keys in it, to whoever asks over HTTP.
func TestNoProfilerIsLinkedIn(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/gatehouse-sec/gatehouse/cmd/gatehouse").Output()
	if err != nil {
		t.Fatalf("list what the program imports: %v", err)
	}
	list := strings.Fields(string(out))
	if !slices.Contains(list, "net/http") {
		t.Fatal("the list is not that of the program")
	}
	if slices.Contains(list, "net/http/pprof") {
		t.Error("net/http/pprof is linked in")
	}
}
