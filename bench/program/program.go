// Package program starts the programs that the benchmarks compare, and reads from Linux's /proc what they have used: user
// and system time, and resident memory, their children's included. Whatever it starts ends with it.
package program

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

// Program is a started program whose CPU time and memory are read from /proc, its children's included.
type Program struct {
	Cmd *exec.Cmd
	Log bytes.Buffer // what it has said
}

// Spawn starts a program.
func Spawn(env []string, name string, args ...string) (*Program, error) {
	p := Command(env, name, args...)
	return p, p.Cmd.Start()
}

// Command is a program that isn't started yet.
func Command(env []string, name string, args ...string) *Program {
	p := &Program{Cmd: exec.Command(name, args...)}
	p.Cmd.Env = append(os.Environ(), env...)
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Log, &p.Log
	p.Cmd.SysProcAttr = ownGroup()
	return p
}

// Start starts a program and waits until address accepts connections.
func Start(address string, env []string, name string, args ...string) (*Program, error) {
	p, err := Spawn(env, name, args...)
	if err != nil {
		return nil, err
	}
	return p, p.Await(address)
}

// Await waits until address accepts connections; a program that doesn't listen in time or has ended is stopped.
func (p *Program) Await(address string) error {
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) || p.ended() {
			p.Stop()
			return fmt.Errorf("%s does not listen on %s: %s", p.Cmd.Path, address, p.Log.String())
		}
	}
}

// ended tells that the program is over, though nobody has waited for it yet.
func (p *Program) ended() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err == nil && strings.HasPrefix(rest, "Z")
}

// Stop ends it and its children at once.
func (p *Program) Stop() {
	_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	_ = p.Cmd.Wait()
}

// Signal sends a signal to the process and its children.
func (p *Program) Signal(s syscall.Signal) {
	for _, pid := range p.family() {
		_ = syscall.Kill(pid, s)
	}
}

// family lists the process and its children.
func (p *Program) family() []int {
	pids := []int{p.Cmd.Process.Pid}
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

// CPU is the processor time used so far. A clock tick is 10 ms on Linux, far below what a run takes.
func (p *Program) CPU() (time.Duration, error) {
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

// Fine is the processor time used so far as CPU tells it, in nanoseconds instead of ticks, for runs of a fraction of a second:
// what Linux's scheduler has counted for each thread that lives. A thread that has ended is not counted; neither Go nor nginx
// ends threads while they serve.
func (p *Program) Fine() (time.Duration, error) {
	var sum int64
	for _, pid := range p.family() {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(files) == 0 {
			return 0, fmt.Errorf("no thread of process %d has a schedstat", pid)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has just ended
			}
			count, _, _ := strings.Cut(string(text), " ")
			n, err := strconv.ParseInt(count, 10, 64)
			if err != nil {
				return 0, errors.New("schedstat has another form")
			}
			sum += n
		}
	}
	return time.Duration(sum), nil
}

// Memory is the largest resident size in MiB, of all processes together.
func (p *Program) Memory() float64 { return p.status("VmHWM:") }

// Resident is the resident size now in MiB.
func (p *Program) Resident() float64 { return p.status("VmRSS:") }

func (p *Program) status(key string) (mib float64) {
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

// Free gives an address of 127.0.0.1 on which nothing listens.
func Free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
