package namespace

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Placeholder is a process that does nothing: a stub of a few pages in the host program's namespaces, which waits. It ends
// when it is closed, and with the host program.
type Placeholder struct {
	proc *Process
	gate *os.File // what it waits for the other end of to be closed
}

// NewPlaceholder starts one.
func NewPlaceholder() (*Placeholder, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(fds[0])
	h := &Placeholder{gate: os.NewFile(uintptr(fds[1]), "placeholder's gate")}
	done := make(chan error)
	// Not on the caller's thread, which may be locked and in namespaces that are not the program's.
	go func() { done <- h.start(fds[0]) }()
	if err := <-done; err != nil {
		_ = h.gate.Close()
		return nil, fmt.Errorf("start placeholder: %w", err)
	}
	return h, nil
}

func (h *Placeholder) start(gate int) error {
	host := Namespace{Host: true}
	l := &Launch{Namespaces: Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host}}
	s := newStarter(l, placeholderProgram(gate))
	defer s.close()
	proc, err := s.begin(s.open)
	if err != nil {
		return err
	}
	h.proc = proc
	if _, err := s.result(context.Background()); err != nil {
		h.proc.discard()
		return err
	}
	return nil
}

// placeholderProgram leaves everything of the host program and waits for the end of the file gate.
func placeholderProgram(gate int) *Program {
	g := &guardianCompiler{Program: &Program{}}
	file := g.file("gate", func() (int, bool, error) { return gate, false, nil })
	g.inline = len(g.files)
	report := g.file("report", nil)
	g.detach(report, "caisson-place")
	b := g.variable("byte", 8)
	g.call("read", unix.SYS_READ, file, b.addr(), num(1))
	g.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
	return g.Program
}

// Pid is the process's number.
func (h *Placeholder) Pid() int { return h.proc.Pid() }

// Close ends the process and waits for that. A second Close does nothing.
func (h *Placeholder) Close() error {
	if h.gate == nil {
		return nil
	}
	err := h.gate.Close()
	h.gate = nil
	h.proc.discard()
	return err
}
