package container

import (
	"io"
	"os"
	"slices"

	"github.com/caisson-engine/caisson/namespace"
)

func (c *Container) checkShared() error {
	switch k := c.Shared; {
	case k == nil:
		return nil
	case c.Keep != nil:
		return wrong("Shared", "a container with Keep is shared already")
	case k.Dir == "":
		return wrong("Shared", "no Dir for the files")
	case len(k.Hold) > 0 || k.CgroupDir != nil || len(k.CgroupTasks) > 0 || k.AtEnd != nil:
		return wrong("Shared", "of a Keep only Dir, Stdin, LogSize and NoLog mean something here: there is no keeper")
	case c.Cgroup == "" && !c.NoCgroup && c.Scope == nil:
		return wrong("Cgroup", "a container that others enter is found by its control group: give that a name")
	}
	return nil
}

// kept is the Keep by which other programs find the container, nil if they do not.
func (c *Container) kept() *Keep {
	if c.Shared != nil {
		return c.Shared
	}
	return c.Keep
}

// makeShare makes the files by which others find the container.
func (c *Container) makeShare(u *undo) error {
	if c.Shared == nil {
		return nil
	}
	s, err := namespace.NewShare(c.Shared)
	if err != nil {
		return startError(err)
	}
	u.add(s.Abort)
	c.io.share, c.io.logs, c.io.sharesInput = s, !c.Shared.NoLog, c.Shared.Stdin && !c.TTY
	return nil
}

// logged returns a writer to w, which may be nil, and then to a stream of the log if there is one. w comes first: the log holds up nothing that
// was read already, and of it nothing is an error.
func (s *stdio) logged(w io.Writer, stream namespace.Stream) io.Writer {
	if !s.logs {
		return w
	}
	log := s.share.Log(stream)
	if w == nil {
		return log
	}
	return &logWriter{w: w, log: log}
}

// take is the process's end of a pipe of StdinPipe and its kin, if f is that: this program reads or writes it, and closes it then.
func (s *stdio) take(f any) (own []*os.File) {
	if i := slices.IndexFunc(s.child, func(c *os.File) bool { return f == any(c) }); i >= 0 {
		own = append(own, s.child[i])
		s.ours = append(s.ours, s.child[i])
		s.child = slices.Delete(s.child, i, i+1)
	}
	return own
}

type logWriter struct{ w, log io.Writer }

func (l *logWriter) Write(b []byte) (int, error) {
	n, err := l.w.Write(b)
	_, _ = l.log.Write(b)
	return n, err
}

// sharedStdin makes the input that others can write to, too. Stdin is copied to it, and its end is then that of the input, once the others
// are at theirs. Wait does not wait for that: it may be blocked reading the user's own terminal.
func (p *Process) sharedStdin() (*os.File, error) {
	r, w, err := p.io.pipe(0)
	if err != nil {
		return nil, err
	}
	p.io.ours = append(p.io.ours, w)
	if err := p.io.share.Input(w); err != nil {
		return nil, err
	}
	share, own := p.io.share, p.io.take(p.Stdin)
	p.io.feed = func() {
		if p.Stdin != nil {
			_, _ = io.Copy(w, p.Stdin)
			share.CloseInput()
		}
		_ = w.Close()
		closeAll(&own)
	}
	return r, nil
}

// endShare tells the others how the process has ended: everything of it is over by now.
func (p *Process) endShare() error {
	if p.io.share == nil {
		return nil
	}
	return p.io.share.End(p.run.waited)
}
