//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"syscall"
)

// isolate puts a command into a process group. Where there are no networks of one's own the documents are followed one
// after the other, on the machine's loopback.
func isolate(c *exec.Cmd, _ bool) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func canIsolate() bool { return false }

func raiseLoopback() error { return errors.New("no network of one's own here") }
