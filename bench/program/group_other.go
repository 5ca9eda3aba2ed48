//go:build !linux

package program

import "syscall"

// ownGroup lets a program be stopped with its children. It builds here; what it measures is read from Linux's /proc.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
