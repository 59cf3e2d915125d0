package namespace

import (
	"os"
	"path"
)

// A pause is where a process waits for its BeforeRoot, or until it is known and may outlive the program: the pipe's reading end
// is the process's, the other one ours alone, so that the process ends when we do.
type pause struct{ wait, resume *os.File }

func (p *pause) close() {
	_ = p.wait.Close()
	_ = p.resume.Close()
}

// pauses says whether the process pauses.
func (l *Launch) pauses() bool { return l.BeforeRoot != nil || l.waits() && l.Created != nil }

// waits says whether the process waits behind its seccomp filter, and joins its control groups when Created says so.
func (l *Launch) waits() bool { return l.parked != nil || l.ready != nil }

// validatePause finds what no process could be paused with.
func (l *Launch) validatePause() error {
	switch {
	case l.BeforeRoot == nil:
		return nil
	case l.Keep != nil:
		return bad("BeforeRoot", "a process with a keeper is not paused")
	case l.Root == nil || l.Root.mount != nil:
		return bad("BeforeRoot", "the root is not a folder of the host")
	case !path.IsAbs(l.Root.path) || path.Clean(l.Root.path) != l.Root.path || l.Root.path == "/":
		return bad("BeforeRoot", "the root %q is not an absolute path in its shortest form", l.Root.path)
	}
	return nil
}
