package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/caisson-engine/caisson/namespace"
)

// stdio is the wiring of a process's standard files.
type stdio struct {
	child []*os.File     // the process's ends, ours to close once it has them
	ours  []*os.File     // our ends of pipes that goroutines copy
	users []*os.File     // our ends of pipes that the caller has
	pipes []*os.File     // those of child that are pipes, to be owned by the process's user
	work  []func() error // what the goroutines do
	done  chan error     // the goroutines' first error, when all have ended; nil without work

	share       *namespace.Share // nil without
	logs        bool             // to it
	sharesInput bool
	feed        func() // copies to the input that is shared
}

// prepare opens the process's standard input, output and error. With a terminal there are none: see attach.
func (p *Process) prepare() (files [3]*os.File, err error) {
	if p.TTY {
		return files, nil
	}
	if files[0], err = p.childStdin(); err != nil {
		return files, &StartError{Step: "open", Path: "stdin", Err: err}
	}
	if files[1], err = p.childWriter(p.Stdout, namespace.Stdout); err != nil {
		return files, &StartError{Step: "open", Path: "stdout", Err: err}
	}
	if p.Stderr != nil && sameWriter(p.Stderr, p.Stdout) {
		files[2] = files[1]
		return files, nil
	}
	if files[2], err = p.childWriter(p.Stderr, namespace.Stderr); err != nil {
		return files, &StartError{Step: "open", Path: "stderr", Err: err}
	}
	return files, nil
}

// childStdin returns nil for /dev/null, which is opened inside the container.
func (p *Process) childStdin() (*os.File, error) {
	if p.io.sharesInput {
		return p.sharedStdin()
	}
	if p.Stdin == nil {
		return nil, nil
	}
	if f, ok := p.Stdin.(*os.File); ok {
		return f, nil
	}
	r, w, err := p.io.pipe(0)
	if err != nil {
		return nil, err
	}
	p.io.ours = append(p.io.ours, w)
	p.io.work = append(p.io.work, func() error {
		_, err := io.Copy(w, p.Stdin)
		if errors.Is(err, syscall.EPIPE) { // the process did not want all of it
			err = nil
		}
		return errors.Join(err, w.Close())
	})
	return r, nil
}

func (p *Process) childWriter(w io.Writer, stream namespace.Stream) (*os.File, error) {
	var own []*os.File
	_, passed := w.(*os.File)
	if p.io.logs {
		own, w = p.io.take(w), p.io.logged(w, stream)
	}
	if w == nil {
		return nil, nil
	}
	if f, ok := w.(*os.File); ok {
		return f, nil
	}
	r, child, err := p.io.pipe(1)
	if err != nil {
		return nil, err
	}
	p.io.ours = append(p.io.ours, r)
	p.io.work = append(p.io.work, func() error {
		_, err := io.Copy(p.bounded(w), r)
		r.Close() // after an error of w: the process then gets SIGPIPE
		closeAll(&own)
		if passed && errors.Is(err, syscall.EPIPE) { // with the file itself that was the process's own affair
			err = nil
		}
		return err
	})
	return child, nil
}

// pipe makes a pipe of which the process gets the reading (0) or the writing end (1).
func (s *stdio) pipe(child int) (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	end := [2]*os.File{r, w}[child]
	s.child = append(s.child, end)
	s.pipes = append(s.pipes, end)
	return r, w, nil
}

// attach begins the copying, to and from the terminal if there is one.
func (p *Process) attach(tty *os.File) {
	s := &p.io
	if s.share != nil {
		s.share.Serve(p.run.proc)
	}
	if s.feed != nil {
		go s.feed()
	}
	if tty == nil {
		closeAll(&s.child)
	} else {
		p.attachTTY(tty)
	}
	if len(s.work) == 0 {
		return
	}
	results := make(chan error, len(s.work))
	for _, f := range s.work {
		go func() { results <- f() }()
	}
	n := len(s.work)
	s.work = nil
	if n == 1 {
		s.done = results
		return
	}
	s.done = make(chan error, 1)
	go func(done chan<- error) {
		var first error
		for range n {
			if err := <-results; first == nil {
				first = err
			}
		}
		done <- first
	}(s.done)
}

// abort closes everything after a start that did not succeed.
func (s *stdio) abort() {
	closeAll(&s.child)
	closeAll(&s.ours)
	closeAll(&s.users)
	s.pipes, s.work = nil, nil
}

func closeAll(files *[]*os.File) {
	for _, f := range *files {
		f.Close()
	}
	*files = nil
}

// sameWriter compares two writers, of types that may not be comparable.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() { _ = recover() }()
	return a == b
}

// StdinPipe returns a pipe that will be the command's standard input. Wait closes it after the command's end; close it
// earlier to let the command see the end of its input.
func (p *Process) StdinPipe() (io.WriteCloser, error) {
	if err := p.pipeable("Stdin", p.Stdin != nil); err != nil {
		return nil, err
	}
	r, w, err := p.io.pipe(0)
	if err != nil {
		return nil, err
	}
	p.Stdin = r
	p.io.users = append(p.io.users, w)
	return w, nil
}

// StdoutPipe returns a pipe from which the command's standard output can be read. Wait closes it after the command's
// end: read to the end of file before Wait, and do not use Run.
func (p *Process) StdoutPipe() (io.ReadCloser, error) {
	if err := p.pipeable("Stdout", p.Stdout != nil); err != nil {
		return nil, err
	}
	return p.outputPipe(&p.Stdout)
}

// StderrPipe returns a pipe from which the command's standard error can be read. Wait closes it after the command's
// end: read to the end of file before Wait, and do not use Run.
func (p *Process) StderrPipe() (io.ReadCloser, error) {
	if err := p.pipeable("Stderr", p.Stderr != nil); err != nil {
		return nil, err
	}
	return p.outputPipe(&p.Stderr)
}

func (p *Process) outputPipe(field *io.Writer) (io.ReadCloser, error) {
	r, w, err := p.io.pipe(1)
	if err != nil {
		return nil, err
	}
	*field = w
	p.io.users = append(p.io.users, r)
	return r, nil
}

func (p *Process) pipeable(field string, set bool) error {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if set {
		return fmt.Errorf("container: %s already set", field)
	}
	if p.run.started {
		return fmt.Errorf("container: %sPipe after process started", field)
	}
	return nil
}
