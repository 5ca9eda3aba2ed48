package main

import (
	"context"
	"os"
	"strings"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/harden"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// environment is a copy of this process' variables, taken before those that held secrets are removed (row K7): what a
// document refers to by env: is still found by the next one. The zero environment looks at the process' own.
type environment map[string]string

func copyEnvironment() environment {
	e := environment{}
	for _, entry := range os.Environ() {
		if name, value, ok := strings.Cut(entry, "="); ok {
			e[name] = value
		}
	}
	return e
}

func (e environment) lookup(name string) (string, bool) {
	if e == nil {
		return os.LookupEnv(name)
	}
	value, ok := e[name]
	return value, ok
}

// resolve reads what a reference refers to, as Ref.Resolve does, with the variables of the copy.
func (e environment) resolve(ref secret.Ref) (secret.Value, error) {
	if e == nil || ref.Scheme() != secret.Env {
		return ref.Resolve()
	}
	answer, err := secret.Environment(e.lookup).Fetch(context.Background(), ref.Place(), "")
	if err != nil {
		return secret.Value{}, err
	}
	return answer.Fields[ref.Field()], nil
}

// scrub removes the variables that a document refers to, so that nothing that is started from here inherits them. Those of
// the section secret stay: a login at OpenBao or Vault reads them anew.
func scrub(d *config.Document, more ...secret.Ref) error {
	stay := map[string]bool{}
	eachText(d.Value("secret"), func(text string) {
		if name, ok := strings.CutPrefix(text, "env:"); ok {
			stay[name] = true
		}
	})
	var names []string
	for _, ref := range append(referredTo(d), more...) {
		if ref.Scheme() == secret.Env && !stay[ref.Place()] {
			names = append(names, ref.Place())
		}
	}
	return harden.Environment(names...)
}
