package network

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThrowawayThread runs f on a thread that ends afterwards, so that f may change what belongs to a thread. That is never
// the program's first thread: Go cannot end it, and /proc/self shows its namespaces as those of the whole program.
func onThrowawayThread(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onThrowawayThread(f) // which finds another thread, since this one is taken
			runtime.UnlockOSThread()
		} else {
			f() // locked until the goroutine ends, and the thread with it
		}
		close(done)
	}()
	<-done
}

// inside runs f on a thread in the network namespace, or, if that is nil, where it is. Sockets that f opens stay in the
// namespace, and /proc/sys/net is the namespace's.
func inside(ns *os.File, f func() error) error {
	if ns == nil {
		return f()
	}
	var err error
	onThrowawayThread(func() {
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = f()
	})
	return err
}

// writeSysctl sets a kernel parameter of the calling thread's network namespace: a path below /proc/sys/net.
func writeSysctl(path, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
		return fmt.Errorf("set kernel parameter: %w", err)
	}
	return nil
}
