//go:build amd64 || arm64

package sigpipe

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// ErrInUse is returned by Catch while another Pipe is open.
var ErrInUse = errors.New("signals are caught already")

// A Pipe is where the signals come out.
type Pipe struct {
	r      *os.File
	w      int
	before [last + 1]action // what was done at those that are caught
	until  syscall.Signal   // those below it are caught
}

// last is the highest signal.
const last = 64

// action is the kernel's struct sigaction.
type action struct{ handler, flags, restorer, mask uintptr }

const (
	saSigInfo  = 0x00000004
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
)

// functions returns the addresses of what the kernel calls when a signal comes, which writes its number as a byte to the descriptor
// to, of what it calls for those that a fault raises, too, and of what it calls after that.
func functions() (handler, faultHandler, restorer uintptr)

var (
	to    int32
	gos   uintptr // Go's handler, which gets faults
	inUse atomic.Bool
)

// caught says whether a signal is one to be caught. Those that Go's runtime needs whoever sends them are not, nor those that a C library
// keeps for itself, nor SIGWINCH, which is about the program's own terminal.
func caught(s syscall.Signal) bool {
	const firstC, lastC = 32, 34
	switch s {
	case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGWINCH:
		return false
	}
	return s < firstC || s > lastC
}

// fault says whether the kernel raises a signal for what the program itself does: then it is Go's.
func fault(s syscall.Signal) bool {
	switch s {
	case syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSYS:
		return true
	}
	return false
}

// Catch catches the signals that a program can pass on, from now on until Close: os/signal does not hear of them. There can be one
// Pipe at a time.
func Catch() (*Pipe, error) {
	if !inUse.CompareAndSwap(false, true) {
		return nil, ErrInUse
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil { // what does not fit in is lost
		inUse.Store(false)
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &Pipe{r: os.NewFile(uintptr(fds[0]), "signals"), w: fds[1]}
	atomic.StoreInt32(&to, int32(p.w))
	handler, faultHandler, restorer := functions()
	var before action
	if err := change(syscall.SIGSEGV, nil, &before); err != nil {
		p.Close()
		return nil, fmt.Errorf("sigaction: %w", err)
	}
	atomic.StoreUintptr(&gos, before.handler)
	for s := syscall.Signal(1); s <= last; s++ {
		p.until = s
		if !caught(s) {
			continue
		}
		a := action{handler, saSigInfo | saRestorer | saOnStack | saRestart, restorer, ^uintptr(0)}
		if fault(s) {
			a.handler = faultHandler
		}
		if err := change(s, &a, &p.before[s]); err != nil {
			p.Close()
			return nil, fmt.Errorf("sigaction %d: %w", s, err)
		}
	}
	p.until = last + 1
	return p, nil
}

func change(s syscall.Signal, to, before *action) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(before)),
		unsafe.Sizeof(to.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Next waits for a signal. ok is false after Close.
func (p *Pipe) Next() (s syscall.Signal, ok bool) {
	var b [1]byte
	n, err := p.r.Read(b[:])
	return syscall.Signal(b[0]), err == nil && n == 1
}

// Close gives the signals back to Go's runtime, and to the kernel those that Go leaves to it. It is called once.
func (p *Pipe) Close() {
	for s := syscall.Signal(1); s < p.until; s++ {
		if caught(s) {
			_ = change(s, &p.before[s], nil)
		}
	}
	_ = p.r.Close()
	_ = syscall.Close(p.w)
	inUse.Store(false)
}
