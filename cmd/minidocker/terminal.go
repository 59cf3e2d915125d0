package main

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// raw puts the terminal of the standard input into raw mode; restore puts it back.
func (a *app) raw() (restore func(), err error) {
	if !isTerminal(a.stdin) {
		return func() {}, nil
	}
	state, err := term.MakeRaw(int(a.stdin.Fd()))
	if err != nil {
		return nil, err
	}
	return func() { _ = term.Restore(int(a.stdin.Fd()), state) }, nil
}

// size returns the size of the terminal that the command writes to, or reads from, or zero.
func (a *app) size() namespace.WinSize {
	if size := sizeOf(a.stdout); size.Cols > 0 {
		return size
	}
	return sizeOf(a.stdin)
}

func sizeOf(f *os.File) namespace.WinSize {
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return namespace.WinSize{}
	}
	return namespace.WinSize{Rows: uint16(rows), Cols: uint16(cols)}
}

// attach wires the container's standard files to the command's. Only with -t does the container see a terminal: one of the
// host, like its files and devices, is hidden behind a pipe. copied says that the input is copied to one that others have, too. started
// is to be called when the container has been.
func (a *app) attach(s *streams, tty, copied bool) (o *engine.StartOptions, started func(), err error) {
	started = func() {}
	o = &engine.StartOptions{}
	if s.out {
		o.Stdout = hidden(a.stdout)
	}
	if tty {
		o.TTYSize = a.size()
	} else if s.err {
		o.Stderr = hidden(a.stderr)
	}
	if !s.in {
		return o, started, nil
	}
	o.Stdin = a.stdin
	if !tty && !copied && !harmless(a.stdin) {
		// The copying outlives the container by the line that is being typed, and nobody waits for it.
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		go func() {
			_, _ = io.Copy(w, a.stdin)
			_ = w.Close()
		}()
		o.Stdin = r
		started = func() { _ = r.Close() }
	}
	return o, started, nil
}

// hidden returns f if the container may have it, else a writer to it.
func hidden(f *os.File) io.Writer {
	if harmless(f) {
		return f
	}
	return struct{ io.Writer }{f}
}

// harmless says that the container may have the descriptor itself. Root in a container can open a file, folder or device
// anew through /proc/self/fd, with other access than it was given; a pipe or socket is no more than what it is.
func harmless(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}
