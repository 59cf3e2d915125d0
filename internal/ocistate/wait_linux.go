package ocistate

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// waitStep is how long a wait looks at its context in vain, in milliseconds.
const waitStep = 100

// Wait waits until the container's first process has ended, reaped or not, or ctx ends.
func (s *State) Wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(s.InitProcessPid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", s.InitProcessPid, err)
	}
	defer unix.Close(fd)
	p, err := s.Process() // is it this one?
	if err != nil {
		if errors.Is(err, ErrNotRunning) {
			return nil
		}
		return err
	}
	_ = p.Release()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, waitStep)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll pidfd of %d: %w", s.InitProcessPid, err)
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("container init still running: %w", context.Cause(ctx))
		}
	}
}
