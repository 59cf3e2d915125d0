package container

import (
	"errors"
	"io"
	"os"
)

// ErrMaxOutput is the Cause of the [*ExitError] of a command that was killed because it printed more than
// [Process.MaxOutput], and is returned by Wait and its kin, as it is, if the command had ended with success by then.
var ErrMaxOutput = errors.New("container: the command printed more than MaxOutput")

func (p *Process) checkMaxOutput() error {
	if p.MaxOutput < 0 {
		return wrong("MaxOutput", "%d is negative", p.MaxOutput)
	}
	if p.MaxOutput == 0 {
		return nil
	}
	for _, w := range []io.Writer{p.Stdout, p.Stderr} {
		if _, ok := w.(*os.File); ok {
			return wrong("MaxOutput", "what goes to a file or a pipe of the caller's is not seen, and so not bounded: use another writer")
		}
	}
	return nil
}

// bounded returns the writer, or one before it that lets MaxOutput bytes pass, together with others of the process, and then kills that.
func (p *Process) bounded(w io.Writer) io.Writer {
	if p.MaxOutput == 0 {
		return w
	}
	return &boundedWriter{p: p, w: w}
}

type boundedWriter struct {
	p *Process
	w io.Writer
}

func (b *boundedWriter) Write(data []byte) (int, error) {
	r := &b.p.run
	r.mu.Lock()
	pass := min(int64(len(data)), b.p.MaxOutput-r.printed)
	r.printed += pass
	r.mu.Unlock()
	if pass == int64(len(data)) {
		return b.w.Write(data)
	}
	if n, err := b.w.Write(data[:pass]); err != nil {
		return n, err
	}
	r.mu.Lock()
	if r.cause == nil {
		r.cause = ErrMaxOutput
	}
	r.mu.Unlock()
	_ = b.p.Kill() // it may have ended
	return int(pass), ErrMaxOutput
}
