package network

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// inside runs f on a thread in the network namespace, or, if that is nil, where it is. Sockets that f opens stay in the
// namespace, and /proc/sys/net is the namespace's.
func inside(ns *os.File, f func() error) error {
	if ns == nil {
		return f()
	}
	return thread.Run(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// writeSysctl sets a kernel parameter of the calling thread's network namespace: a path below /proc/sys/net.
func writeSysctl(path, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
		return fmt.Errorf("set kernel parameter: %w", err)
	}
	return nil
}
