package main

import "golang.org/x/sys/unix"

// What a terminal is asked by here.
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)
