package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// handOver takes the listener from the process when it has one, hands it to SeccompNotify, and lets the process go on.
// It ends when that is done, or when the set-up is over, of which over tells.
func (s *starter) handOver(ctx context.Context, p *Process, over <-chan struct{}) error {
	fail := func(step string, err error) error {
		return &StartError{Step: step, Path: listenerName, Err: err}
	}
	var words [16]byte
	own := s.l.userMode().own
	// take returns the listener, or 0 if the process does not have it yet or has ended.
	take := func() (fd int, err error) {
		_, err = readMemory(p.pid, words[:], s.p.address(s.p.handed[0]))
		switch fd = int(binary.NativeEndian.Uint64(words[8:])); {
		case errors.Is(err, unix.EFAULT): // it is being executed: the stub's memory is not there yet
			return 0, nil
		case errors.Is(err, unix.EPERM) && own: // it lets us when it has the listener
			return 0, nil
		case errors.Is(err, unix.ESRCH): // it has ended, and says why elsewhere
			return 0, nil
		case err != nil:
			return 0, fail("read", err)
		case binary.NativeEndian.Uint64(words[:]) != handedMark:
			return 0, nil
		}
		err = withDescriptor(p.pidfd, func(pidfd int) (err error) {
			fd, err = unix.PidfdGetfd(pidfd, fd, 0)
			return err
		})
		switch {
		case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EBADF):
			return 0, nil
		case err != nil:
			return 0, fail("pidfd_getfd", err)
		}
		return fd, nil
	}
	// The process cannot tell us that it has it: the filter may be in the way.
	const often = 50 * time.Microsecond
	tick := time.NewTicker(often)
	defer tick.Stop()
	fd, err := take()
	for ; fd == 0 && err == nil; fd, err = take() {
		select {
		case <-tick.C:
		case <-over:
			return nil
		}
	}
	if err != nil {
		return err
	}
	if !isListener(fd) {
		_ = unix.Close(fd)
		return fail("check", unix.EBADF)
	}
	if err := s.l.SeccompNotify(ctx, newListener(fd, p.pid)); err != nil {
		var start *StartError
		if errors.As(err, &start) {
			return start
		}
		return fail("hand over", err)
	}
	if err := writeMemory(p.pid, binary.NativeEndian.AppendUint64(nil, 1), s.p.address(s.p.handed[1])); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EFAULT) {
		return fail("write", err)
	}
	return nil
}

// isListener says whether a descriptor is one. In a user namespace the process can be traced at that moment, by its equals,
// and made to name another descriptor of its own.
func isListener(fd int) bool {
	what, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return err == nil && what == "anon_inode:seccomp notify"
}

// listen starts handOver, if there is a listener to be taken. What it returns ends it and returns its error.
func (s *starter) listen(ctx context.Context, p *Process) (finish func() error) {
	if s.p.handed == nil {
		return func() error { return nil }
	}
	over, result := make(chan struct{}), make(chan error, 1)
	go func() {
		err := s.handOver(ctx, p, over)
		if err != nil {
			_ = p.Signal(unix.SIGKILL) // it waits, and so does the host program for its report
		}
		result <- err
	}()
	return func() error {
		close(over)
		return <-result
	}
}
