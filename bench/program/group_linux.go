package program

import "syscall"

// ownGroup lets a program be stopped with its children, and stops it when the benchmark ends in any way.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
