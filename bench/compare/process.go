package main

import (
	"fmt"

	"github.com/gatehouse-sec/gatehouse/bench/program"
)

// process is a started program.
type process struct{ *program.Program }

// start starts a program and waits until address accepts connections.
func start(address string, env []string, name string, args ...string) (*process, error) {
	p, err := program.Start(address, env, name, args...)
	return &process{p}, err
}

// run runs a program to its end.
func (p *process) run() error {
	if err := p.Cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", p.Cmd.Path, err, p.Log.String())
	}
	return nil
}
