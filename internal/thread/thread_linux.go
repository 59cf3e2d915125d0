// Package thread runs what changes the kernel's state of a thread: namespaces, capabilities, filters of system calls.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Run calls f on a thread that ends with it, so that f may change what belongs to a thread, and returns f's error. That is
// never the program's first thread: Go cannot end it, and /proc/self shows its namespaces as those of the whole program.
func Run(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f() // locked until the goroutine ends, and the thread with it
			return
		}
		done <- Run(f) // which finds another thread, since this one is taken
		runtime.UnlockOSThread()
	}()
	return <-done
}
