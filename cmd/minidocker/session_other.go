//go:build !unix

package main

import (
	"os"
	"syscall"
)

func ownSession() *syscall.SysProcAttr { return nil }

func inherited(fd int) *os.File { return os.NewFile(uintptr(fd), "notify") }

func keepInherited() {}
