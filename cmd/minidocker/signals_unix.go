//go:build unix

package main

import (
	"os"
	"syscall"
)

// forwarded are the signals that a container gets from its minidocker. Those that stop a job stop minidocker itself.
var forwarded = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM,
	syscall.SIGWINCH,
}

func isResize(s os.Signal) bool { return s == syscall.SIGWINCH }
