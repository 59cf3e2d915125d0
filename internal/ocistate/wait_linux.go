package ocistate

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// waitStep is how long a wait looks at its context in vain, in milliseconds.
const waitStep = 100

// open returns a pidfd of the container's first process. (os.FindProcess would try first, by a process that it makes, whether
// the kernel has pidfds.) The error is ErrNotRunning if it has ended.
func (s *State) open() (int, error) {
	fd, err := unix.PidfdOpen(s.InitProcessPid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return -1, ErrNotRunning
	}
	if err != nil {
		return -1, fmt.Errorf("pidfd_open %d: %w", s.InitProcessPid, err)
	}
	if err := s.Alive(); err != nil { // now, since the descriptor is of who has the number
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Signal sends a signal to the container's first process. The error is ErrNotRunning if that has ended.
func (s *State) Signal(sig syscall.Signal) error {
	fd, err := s.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrNotRunning
	}
	return err
}

// Wait waits until the container's first process has ended, reaped or not, or ctx ends.
func (s *State) Wait(ctx context.Context) error {
	fd, err := s.open()
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
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
