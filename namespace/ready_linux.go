package namespace

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// StartReady starts a process as [Launch.Start] does, and calls ready when the process is set up but for its seccomp filter: it
// executes its command when ready has returned. It is [Launch.Park] for who lets the process go anyway: that ready works
// while the kernel takes the filter. An error of it ends the process, as does the program's end until then.
//
// The filter must let the process read(2) and execute. Gate, Keep and ForkServer must be nil, and Init is not set. With CgroupPaths
// see [Process.JoinCgroups].
func (l *Launch) StartReady(ctx context.Context, call func(*Process) error) (*Process, error) {
	if l.Gate != nil || l.Keep != nil || l.Init || l.ForkServer != nil {
		return nil, bad("Gate", "a process that waits to be ready has no gate of its own, no keeper, no init and no fork server")
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, &StartError{Step: "pipe2", Path: "gate", Err: err}
	}
	gate := os.NewFile(uintptr(pipe[0]), "gate")
	defer gate.Close()
	own := *l
	own.Gate, own.ready = gate, &ready{call, os.NewFile(uintptr(pipe[1]), "gate")}
	defer own.ready.gate.Close()
	return own.Start(ctx)
}

// whenReady waits until the process is ready, which it says in a byte, calls back, lets it go on, and waits until it has executed its
// command.
func (s *starter) whenReady(ctx context.Context, p *Process) error {
	if err := s.awaitPause(ctx, p); err != nil {
		return err
	}
	if err := s.l.ready.call(p); err != nil {
		return err
	}
	if _, err := s.l.ready.gate.Write([]byte{1}); err != nil {
		return &StartError{Step: "write", Path: "gate", Err: err}
	}
	if _, err := s.result(ctx); err != nil {
		return err
	}
	if !s.executed(p, true) {
		return s.died(p)
	}
	return nil
}
