package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// stderrKept is how much Output keeps of each end of the standard error.
const stderrKept = 32 << 10

// output collects the standard output of what run runs.
func (p *Process) output(ctx context.Context, run func(context.Context) error) ([]byte, error) {
	if p.Stdout != nil {
		return nil, errors.New("container: Stdout already set")
	}
	var stdout bytes.Buffer
	var stderr *endsWriter
	p.Stdout = &stdout
	if p.Stderr == nil && !p.TTY {
		stderr = &endsWriter{size: stderrKept}
		p.Stderr = stderr
	}
	err := run(ctx)
	var exit *ExitError
	if stderr != nil && errors.As(err, &exit) {
		exit.Stderr = stderr.bytes()
	}
	return stdout.Bytes(), err
}

// combinedOutput collects the standard output and error of what run runs.
func (p *Process) combinedOutput(ctx context.Context, run func(context.Context) error) ([]byte, error) {
	if p.Stdout != nil {
		return nil, errors.New("container: Stdout already set")
	}
	if p.Stderr != nil {
		return nil, errors.New("container: Stderr already set")
	}
	var both bytes.Buffer
	p.Stdout, p.Stderr = &both, &both
	err := run(ctx)
	return both.Bytes(), err
}

// An endsWriter keeps the first and the last size bytes of what is written to it.
type endsWriter struct {
	size       int
	head, tail []byte
	total      int64
}

func (w *endsWriter) Write(b []byte) (int, error) {
	n := len(b)
	w.total += int64(n)
	room := min(w.size-len(w.head), n)
	w.head = append(w.head, b[:room]...)
	if b = b[room:]; len(b) > w.size {
		b = b[len(b)-w.size:]
	}
	w.tail = append(w.tail, b...)
	if len(w.tail) > 2*w.size { // let it grow a while: moving it costs
		w.tail = append(w.tail[:0], w.tail[len(w.tail)-w.size:]...)
	}
	return n, nil
}

func (w *endsWriter) bytes() []byte {
	tail := w.tail[max(0, len(w.tail)-w.size):]
	skipped := w.total - int64(len(w.head)) - int64(len(tail))
	all := bytes.Clone(w.head)
	if skipped > 0 {
		all = fmt.Appendf(all, "\n... %d bytes left out ...\n", skipped)
	}
	return append(all, tail...)
}
