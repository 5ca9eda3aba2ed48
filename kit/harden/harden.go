// Package harden closes the ways by which keys leave a running process without its help: core dumps, debuggers and
// /proc/PID/mem of other processes, and the environment, which children inherit and /proc/PID/environ shows (row K7). It does
// not protect against root, against hibernation, or against whoever can already run code inside the process.
package harden

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Process forbids core dumps (RLIMIT_CORE 0, hard, so that nobody raises it again and children inherit it) and, on Linux,
// makes the process not dumpable (PR_SET_DUMPABLE 0, prctl(2)): the kernel writes no core for it, even to a pipe, and other
// processes of the same user can neither attach to it nor read its memory or environment. Call it first in main, before any
// secret is read. The error says what could not be done; the rest is done.
func Process() error {
	var failed error
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		failed = fmt.Errorf("forbid core dumps: %w", err)
	}
	return errors.Join(failed, undumpable())
}

// Environment removes variables that held secrets, once these have been read. Their values are overwritten nowhere: the
// kernel's copy in /proc/PID/environ stays until the process ends, and only Process keeps others from reading it. Children
// no longer get them.
func Environment(names ...string) error {
	var failed error
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			failed = errors.Join(failed, errors.New("a variable to remove has no name"))
			continue
		}
		failed = errors.Join(failed, os.Unsetenv(name))
	}
	return failed
}
