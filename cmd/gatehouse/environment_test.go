package main

import (
	"os"
	"testing"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// K7: what a document names is removed from the variables, but for what is read anew, and found by the next document.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"GATEHOUSE_A": "one", "GATEHOUSE_B": "two", "GATEHOUSE_C": "three", "GATEHOUSE_D": "four"} {
		t.Setenv(name, value)
	}
	all := copyEnvironment()
	d, err := config.Parse("x.yaml", []byte("store: {password: env:GATEHOUSE_A}\nsecret: {vault: {auth: {token: env:GATEHOUSE_B}}}\napis: [{key: env:GATEHOUSE_A}, {key: env:GATEHOUSE_B}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	ref := func(text string) (r secret.Ref) {
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := scrub(d, ref("env:GATEHOUSE_C"), secret.Ref{}); err != nil {
		t.Fatal(err)
	}
	for name, stays := range map[string]bool{"GATEHOUSE_A": false, "GATEHOUSE_B": true, "GATEHOUSE_C": false, "GATEHOUSE_D": true} {
		if _, ok := os.LookupEnv(name); ok != stays {
			t.Errorf("%s is there: %t", name, ok)
		}
		if v, err := all.resolve(ref("env:" + name)); err != nil || len(v.Reveal()) < 3 {
			t.Errorf("%s is not found any more: %v", name, err)
		}
	}
	if _, err := all.resolve(ref("env:GATEHOUSE_NONE")); err == nil {
		t.Error("a variable that is not there has a value")
	}
	var none environment
	if v, err := none.resolve(ref("env:GATEHOUSE_D")); err != nil || string(v.Reveal()) != "four" {
		t.Error(v, err)
	}
}
