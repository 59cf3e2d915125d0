package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Held is a process in namespaces of its own that has set itself up, mounts and all, and waits for its command: a stub of
// a few pages. It ends when the host program does, or is closed.
type Held struct {
	l    *Launch
	proc *Process
	sock *os.File
	name string
	used atomic.Bool
}

// Hold starts a process as [Launch.Start] does, but up to where the command comes in: see [Held.Start]. Of l, what
// belongs to the command has no effect yet: Args, Path, Env, Dir, User, Umask, Capabilities, NewPrivileges, Seccomp and its
// flags, Rlimits, Landlock and what else is in Attributes but labels and affinity, standard and extra files, and the terminal.
// Gate, BeforeRoot and BeforeCommand must be nil. Created is called. ctx bounds the set-up.
func (l *Launch) Hold(ctx context.Context) (*Held, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Step: "start", Err: err}
	}
	if l.copiesUp() {
		done, own, err := l.withDeputy(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
		return own.Hold(ctx)
	}
	own := *l
	own.Args, own.Path, own.TTY = []string{"held"}, "", false
	p := takeProgram()
	defer p.giveBack()
	p.givenUp = ctx.Err
	if err := own.compileHold(p); err != nil {
		return nil, err
	}
	if l.edit != nil {
		l.edit(p)
	}
	s := newStarter(&own, p)
	defer s.close()
	proc, err := s.begin(func() error { return s.openHeld(unix.SOCK_STREAM) })
	if err != nil {
		return nil, err
	}
	if s.p.sync != 0 {
		if proc, err = s.userNamespace(ctx, proc); err != nil {
			return nil, err
		}
	}
	h := &Held{l: &own, proc: proc, name: s.name, sock: s.report}
	if l.Created != nil {
		err = l.Created(h.proc)
	}
	if err == nil {
		err = s.held(ctx, h.proc)
	}
	if err != nil {
		h.proc.discard()
		return nil, err
	}
	s.report = nil // h has it
	return h, nil
}

// openHeld opens what a process needs that shall be held: a socket, of this kind, stands in for the report's pipe.
func (s *starter) openHeld(kind int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &StartError{Step: "socketpair", Path: "report", Err: err}
	}
	s.reportFD = pair[1]
	s.owned = append(s.owned, pair[1])
	_ = unix.SetNonblock(pair[0], true)
	s.report = os.NewFile(uintptr(pair[0]), "report")
	if err := s.openFiles(); err != nil {
		return err
	}
	return s.openStub()
}

// held waits until the process waits.
func (s *starter) held(ctx context.Context, p *Process) error {
	defer endWith(ctx, s.report)()
	var b [reportSize]byte
	n, err := s.report.Read(b[:])
	switch {
	case ctx.Err() != nil && err != nil:
		return &StartError{Step: "start", Err: ctx.Err()}
	case n == 0:
		return s.died(p)
	case n == 1:
		return nil
	}
	return s.failure(b[:n])
}

// Process is the process. It belongs to the Held until Start has returned it.
func (h *Held) Process() *Process { return h.proc }

// Alive says whether the process is there still.
func (h *Held) Alive() bool { return !h.used.Load() && !h.proc.ended(0) }

// Start lets the process execute a command, and returns when it does, or a *[StartError], after which the process has
// ended. Of l only what had no effect in [Launch.Hold] counts. ctx bounds what is left of the set-up. At most 59
// ExtraFiles can be given.
func (h *Held) Start(ctx context.Context, l *Launch) (proc *Process, err error) {
	if h.used.Swap(true) {
		return nil, &StartError{Step: "start", Err: ErrHeldUsed}
	}
	own := *l
	own.Root, own.Mounts, own.Namespaces, own.Hostname, own.Domainname = h.l.Root, h.l.Mounts, h.l.Namespaces, "", ""
	own.ReadOnlyPaths, own.MaskedPaths, own.Sysctls, own.ReadOnlyRoot = nil, nil, nil, false
	own.OOMScoreAdj, own.Gate, own.Keep, own.TimeOffsets = nil, nil, nil, nil
	own.UIDMappings, own.GIDMappings, own.RootIDMap = h.l.UIDMappings, h.l.GIDMappings, h.l.RootIDMap
	own.Init, own.rootless, own.privileged = h.l.Init, h.l.rootless, h.l.privileged
	p := takeProgram()
	defer p.giveBack()
	s := newStarter(&own, p)
	s.report, s.name = h.sock, h.name
	defer s.close()
	defer func() {
		if err != nil {
			h.proc.discard()
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Step: "start", Err: err}
	}
	if err := own.compileHeld(p); err != nil {
		return nil, err
	}
	if l.edit != nil {
		l.edit(p)
	}
	if err := s.openFiles(); err != nil {
		return nil, err
	}
	if err := s.release(); err != nil {
		return nil, err
	}
	s.closeChildSide()
	_ = s.openComm(h.proc.pid) // it says in its report that it is ready
	heard := s.listen(ctx, h.proc)
	ready, err := s.result(ctx)
	if err == nil && !s.executed(h.proc, ready) {
		err = s.died(h.proc)
	}
	if err != nil {
		_ = h.proc.Signal(unix.SIGKILL)
	}
	if e := heard(); e != nil {
		err = e
	}
	if err == nil && own.TTY {
		h.proc.tty, err = s.receiveTerminal()
	}
	if err != nil {
		return nil, err
	}
	return h.proc, nil
}

// release sends the process the rest of its program and its descriptors.
func (s *starter) release() error {
	if len(s.fds) > maxHeldFiles {
		return &StartError{Step: "send", Path: "descriptors", Err: fmt.Errorf("%d are more than %d", len(s.fds), maxHeldFiles)}
	}
	program, size, err := writeHeld(s.p)
	if err != nil {
		return &StartError{Step: "write", Path: "program", Err: err}
	}
	s.owned = append(s.owned, program)
	fds := make([]int, 0, maxHeldFiles+1)
	for _, fd := range s.fds {
		fds = append(fds, int(fd))
	}
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], size)
	binary.NativeEndian.PutUint64(b[8:], uint64(len(fds)))
	rights := unix.UnixRights(append(fds, program)...)
	err = withDescriptor(s.report, func(fd int) error {
		for {
			err := unix.Sendmsg(fd, b[:], rights, nil, unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return os.NewSyscallError("sendmsg", err)
			}
		}
	})
	if err != nil {
		return &StartError{Step: "send", Path: "program", Err: err}
	}
	return nil
}

// writeHeld writes a program's segment into a memory file.
func writeHeld(p *Program) (fd int, size uint64, err error) {
	p.image = p.image[:0]
	size = p.writeSegment()
	fd, err = unix.MemfdCreate("program", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // MFD_NOEXEC_SEAL: Linux ≥ 6.3
		fd, err = unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, 0, os.NewSyscallError("memfd_create", err)
	}
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		err = writeAll(fd, p.image)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, os.NewSyscallError("write", err)
	}
	return fd, size, nil
}

// Close ends the process if it was not started. A second Close does nothing.
func (h *Held) Close() error {
	if h.used.Swap(true) {
		return nil
	}
	h.proc.discard()
	return h.sock.Close()
}
