//go:build unix

package main

import (
	"os"
	"strconv"
	"syscall"
)

// ownSession has a process live on when the terminal goes.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// inherited is a file that this program was started with, which those that it starts do not get.
func inherited(fd int) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "notify")
}

// keepInherited keeps what this program was started with, but for the standard files, from those that it starts: a lock of a script, say,
// which would be held for as long as the supervisor is there.
func keepInherited() {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
