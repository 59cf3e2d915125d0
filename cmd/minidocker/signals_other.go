//go:build !unix

package main

import (
	"os"
	"syscall"
)

var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

func isResize(os.Signal) bool { return false }
