package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/kit/control"
)

// nothing is the question or the answer of an operation that needs none.
type nothing struct{}

// asker is a command that has something done by the gateway that runs here, or, when none runs, does it itself on the same
// state. What is done is the same; see operations.
type asker struct {
	io      stdio
	file    string // the document, for a gateway that doesn't run
	process int    // which gateway, when several run
	json    bool
}

// flags adds what all such commands have.
func (a *asker) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&a.file, "config", "c", "gatehouse.yaml", "the document, which says where state lies when no gateway runs")
	f.IntVar(&a.process, "process", 0, "process number of the gateway to ask, when several run")
	f.BoolVar(&a.json, "json", false, "print JSON")
}

// asking makes a command that asks for one operation.
func asking(std stdio, c *cobra.Command, do func(ctx context.Context, a *asker, args []string) error) *cobra.Command {
	a := &asker{io: std}
	c.RunE = func(c *cobra.Command, args []string) error { return do(c.Context(), a, args) }
	a.flags(c)
	return c
}

// ask has an operation performed, shows how far it has come, and gives the answer.
func ask[A any](ctx context.Context, a *asker, name string, question any) (answer A, err error) {
	target, end, err := a.target(ctx, name)
	if err != nil {
		return answer, err
	}
	show := newProgress(a.io.err)
	answer, err = control.Ask[A](ctx, target, name, question, show.tell)
	show.end()
	return answer, errors.Join(err, end())
}

// target is the gateway that runs here, or this process, for an operation.
func (a *asker) target(ctx context.Context, name string) (control.Target, func() error, error) {
	places, running, err := a.running()
	if err != nil {
		return nil, nil, err
	}
	if running != nil {
		return running, func() error { return nil }, nil
	}
	return alone(ctx, a.io, places, a.file, strings.HasPrefix(name, "secret.") || name == "ca.internal") // which may come before the first start
}

// running is the gateway that runs here, or nil.
func (a *asker) running() (places, control.Target, error) {
	places, err := findPlaces()
	if err != nil {
		return places, nil, err
	}
	running, err := control.Find(places.control())
	if err != nil {
		return places, nil, err
	}
	var numbers []string
	for _, p := range running {
		if p.PID == a.process || a.process == 0 && len(running) == 1 {
			return places, p, nil
		}
		numbers = append(numbers, fmt.Sprint(p.PID))
	}
	switch {
	case a.process != 0:
		return places, nil, fmt.Errorf("no gateway with process number %d runs on the state in %s; running: %s", a.process, places.state, strings.Join(append(numbers, "none")[:max(1, len(numbers))], ", "))
	case len(running) > 1:
		return places, nil, fmt.Errorf("%d gateways run on the state in %s; add --process with one of %s", len(running), places.state, strings.Join(numbers, ", "))
	}
	return places, nil, nil
}

// print writes the answer: as JSON when asked for, else by text.
func (a *asker) print(answer any, text func(w io.Writer)) error {
	if a.json {
		e := json.NewEncoder(a.io.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(answer)
	}
	text(a.io.out)
	return nil
}

// progress shows how far something has come, in one line that is written over. Without a terminal it says little.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	live  bool
	last  time.Time
	shown int
}

func newProgress(w io.Writer) *progress { return &progress{w: w, live: terminal(w)} }

func (p *progress) tell(done, total int64, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.live || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	line := tame(what)
	if total > 0 {
		line = fmt.Sprintf("%3d%%  %s", min(100, done*100/total), line)
	}
	fmt.Fprintf(p.w, "\r%-*s", p.shown, line)
	p.shown = len(line)
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.shown, "")
	}
	p.shown = 0
}

// places are where this installation keeps things.
type places struct {
	state  string // what must survive a restart: store, events
	config string // $XDG_CONFIG_HOME/gatehouse: a root key of our own, apart from the state; need not be there
}

// floor is where this machine remembers the newest signed document that it has accepted.
func (p places) floor() string { return filepath.Join(p.state, "document.json") }

func (p places) control() string { return filepath.Join(p.state, "control") }

func findPlaces() (places, error) {
	state, err := stateDirectory()
	if err != nil {
		return places{}, err
	}
	config := os.Getenv("XDG_CONFIG_HOME")
	if home, err := os.UserHomeDir(); config == "" && err == nil {
		config = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(config) {
		return places{state: state}, nil // nowhere: then a root key has to be named
	}
	return places{state, filepath.Join(config, "gatehouse")}, nil
}
