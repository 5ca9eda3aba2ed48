package seclang

import (
	"os"
	"strings"
	"testing"
)

// The page names everything that is refused or left to Gatehouse.
func TestThePageNamesEverything(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, e := range entries() {
		if e.effect != works && !strings.Contains(page, "`"+e.name+"`") {
			t.Errorf("%s is not on the page", e.name)
		}
	}
	for name := range refusedActions() {
		if !strings.Contains(page, "`"+name) && !strings.HasPrefix(name, "saniti") {
			t.Errorf("action %s is not on the page", name)
		}
	}
	for name := range refusedTests() {
		if !strings.Contains(page, "`@"+name) {
			t.Errorf("operator %s is not on the page", name)
		}
	}
	for name := range empty() {
		if !strings.Contains(page, "`"+name) && !strings.HasPrefix(name, "MULTIPART_") && !strings.HasPrefix(name, "RES_BODY_") && name != "UNKNOWN" {
			t.Errorf("%s is not on the page", name)
		}
	}
}
