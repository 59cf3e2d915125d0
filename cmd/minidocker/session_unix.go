//go:build unix

package main

import (
	"os"
	"syscall"
)

// ownSession has a process live on when the terminal goes.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// inherited is a file that this program was started with, which those that it starts do not get.
func inherited(fd int) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "notify")
}
