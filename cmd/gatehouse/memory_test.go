package main

import "testing"

func TestNineTenths(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"max\n": 0, "": 0, "-1": 0, "garbage": 0, "268435456\n": 241591905, "1000": 900} {
		if got := nineTenths(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
