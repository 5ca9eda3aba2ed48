package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a started program whose CPU time and memory are read from /proc, its children's included.
type process struct {
	cmd *exec.Cmd
	log bytes.Buffer
}

// spawn starts a program.
func spawn(env []string, name string, args ...string) (*process, error) {
	p := command(env, name, args...)
	return p, p.cmd.Start()
}

// command is a program that isn't started yet.
func command(env []string, name string, args ...string) *process {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = ownGroup()
	return p
}

// start starts a program and waits until address accepts connections.
func start(address string, env []string, name string, args ...string) (*process, error) {
	p, err := spawn(env, name, args...)
	if err != nil {
		return nil, err
	}
	return p, p.await(address)
}

// await waits until address accepts connections; a program that doesn't listen is stopped.
func (p *process) await(address string) error {
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			p.stop()
			return fmt.Errorf("%s does not listen on %s: %s", p.cmd.Path, address, p.log.String())
		}
	}
}

func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// signal sends a signal to the process and its children.
func (p *process) signal(s syscall.Signal) {
	for _, pid := range p.family() {
		_ = syscall.Kill(pid, s)
	}
}

// family lists the process and its children.
func (p *process) family() []int {
	pids := []int{p.cmd.Process.Pid}
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	for _, file := range children {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, w := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(w); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// cpu is the processor time used so far. A clock tick is 10 ms on Linux, far below what a run takes.
func (p *process) cpu() (time.Duration, error) {
	var ticks int64
	for i, pid := range p.family() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && i > 0 {
			continue // it has ended, and what it used counts as its parent's
		}
		if err != nil {
			return 0, err
		}
		_, rest, ok := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 15 {
			return 0, errors.New("stat has another form")
		}
		counts := fields[11:13] // utime, stime
		if i == 0 {
			counts = fields[11:15] // and those of children that have ended
		}
		for _, f := range counts {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is the largest resident size in MiB, of all processes together.
func (p *process) memory() float64 { return p.status("VmHWM:") }

// resident is the resident size now in MiB.
func (p *process) resident() float64 { return p.status("VmRSS:") }

func (p *process) status(key string) (mib float64) {
	for _, pid := range p.family() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(text), "\n") {
			if rest, ok := strings.CutPrefix(line, key); ok {
				if kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64); err == nil {
					mib += kb / 1024
				}
			}
		}
	}
	return mib
}
