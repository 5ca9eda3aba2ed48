package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// person is someone who holds a token.
type person struct {
	role   string
	scopes []string
}

// people are the customers of the tour, the shop's staff, and the three who mean harm: mallory, trudy, who guesses, and
// wendy, whose token may only look.
func people() map[string]person {
	customer := []string{"orders:read", "orders:write", "reviews:write", "payments:read", "payments:write", "invoices:read", "invoices:write"}
	return map[string]person{
		"alice":   {"customer", customer},
		"mallory": {"customer", customer},
		"trudy":   {"customer", customer},
		"wendy":   {"customer", []string{"orders:read"}},
		"sam":     {"support", []string{"orders:read", "invoices:read"}},
		"ada":     {"admin", []string{"catalogue:write"}},
	}
}

// gatehouse runs the command that a reader of the README would run by hand.
type gatehouse struct {
	token   string // template of the command that prints a token; "" makes unsigned ones, which only the services believe
	explain string // template of the command that explains an event; "" asks nobody
	env     []string
}

// tokens gives a function that makes each person's token once.
func (g gatehouse) tokens() func(user string) (string, error) {
	var mu sync.Mutex
	kept := map[string]string{}
	return func(user string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if t, ok := kept[user]; ok {
			return t, nil
		}
		who, ok := people()[user]
		if !ok {
			return "", fmt.Errorf("nobody is called %q", user)
		}
		if g.token == "" {
			kept[user] = unsigned(user, who.role, who.scopes...)
			return kept[user], nil
		}
		var scopes []string
		for _, s := range who.scopes {
			scopes = append(scopes, "--scope", s)
		}
		out, err := g.run(g.token, map[string][]string{"{user}": {user}, "{role}": {who.role}, "{scopes}": scopes})
		if err != nil {
			return "", fmt.Errorf("token for %s: %w", user, err)
		}
		kept[user] = strings.TrimSpace(out)
		return kept[user], nil
	}
}

// run splits a template at spaces, fills it, and runs it. Nothing goes through a shell.
func (g gatehouse) run(template string, fill map[string][]string) (string, error) {
	var args []string
	for _, word := range strings.Fields(template) {
		if with, ok := fill[word]; ok {
			args = append(args, with...)
		} else {
			args = append(args, word)
		}
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), g.env...), &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// words asks what a denial was for. The event may still be on its way to the file, so a first refusal is not believed.
func (g gatehouse) words(event string) (words string, err error) {
	if g.explain == "" || event == "" {
		return "", nil
	}
	for range 20 {
		if words, err = g.run(g.explain, map[string][]string{"{id}": {event}}); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return words, err
}

// unsigned makes a token that nobody signed.
func unsigned(subject, role string, scopes ...string) string {
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of strings always marshal
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return part(map[string]string{"alg": "none", "typ": "at+jwt"}) + "." +
		part(map[string]any{"sub": subject, "roles": []string{role}, "scope": strings.Join(scopes, " ")}) + ".bm9ib2R5"
}
