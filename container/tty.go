package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/caisson-engine/caisson/namespace"
)

// endOfFile is what a terminal takes for the end of input, ^D, unless the command has set another character.
const endOfFile = 4

// attachTTY adds the copying between the terminal's other end, which is ours to close, and Stdin and Stdout.
func (p *Process) attachTTY(tty *os.File) {
	s := &p.io
	s.ours = append(s.ours, tty)
	// The ends of the pipes that StdinPipe and StdoutPipe made for the process are read and written by us here.
	child := s.child
	s.child = nil
	var out io.Writer = io.Discard // somebody must read, or the command would block
	if p.Stdout != nil {
		out = p.Stdout
	}
	out = p.bounded(s.logged(out, namespace.Stdout))
	s.work = append(s.work, func() error {
		_, err := io.Copy(out, tty)
		closeAll(&child)
		if errors.Is(err, syscall.EIO) { // no process has the terminal open any more
			return nil
		}
		if err != nil { // of out: nobody reads any more, and the process would block
			_ = tty.Close()
		}
		return err
	})
	if p.Stdin == nil {
		return
	}
	// Not part of the work that Wait joins: it may be blocked reading the user's own terminal.
	go func() {
		if _, err := io.Copy(tty, p.Stdin); err == nil {
			_, _ = tty.Write([]byte{endOfFile})
		}
	}()
}

// Resize sets the size of the command's terminal; the foreground processes get SIGWINCH. It is an error if TTY is not
// set or the command was not started, and one that satisfies errors.Is(err, os.ErrProcessDone) after its end.
func (p *Process) Resize(size namespace.WinSize) error {
	proc, err := p.alive("resize the terminal of")
	if err != nil {
		return err
	}
	tty := proc.TTY()
	if tty == nil && p.TTY { // the keeper has it
		if tty, err = proc.Input(context.Background()); err == nil {
			defer tty.Close()
		}
	}
	if tty == nil {
		return errors.New("container: resize: there is no terminal: set TTY")
	}
	if err := namespace.Resize(tty, size); err != nil {
		return fmt.Errorf("container: %w", err)
	}
	return nil
}
