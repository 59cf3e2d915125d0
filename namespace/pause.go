package namespace

import (
	"os"
	"path"
	"strings"
)

// A pause is where a process waits for its BeforeRoot and its BeforeCommand, or until it is known and may outlive the program: the
// pipe's reading end is the process's, the other one ours alone, so that the process ends when we do.
type pause struct{ wait, resume *os.File }

func (p *pause) close() {
	_ = p.wait.Close()
	_ = p.resume.Close()
}

// pauses says whether the process pauses.
func (l *Launch) pauses() bool {
	return l.BeforeRoot != nil || l.BeforeCommand != nil || l.waits() && l.Created != nil
}

// waits says whether the process waits behind its seccomp filter, and joins its control groups when Created says so.
func (l *Launch) waits() bool { return l.parked != nil || l.ready != nil }

// rootPlace is where the root lies during BeforeRoot.
func (l *Launch) rootPlace() string {
	if l.RootAt != "" {
		return l.RootAt
	}
	return l.Root.String()
}

// validatePause finds what no process could be paused with.
func (l *Launch) validatePause() error {
	isPath := func(s string) bool {
		return path.IsAbs(s) && path.Clean(s) == s && s != "/" && strings.IndexByte(s, 0) < 0
	}
	switch {
	case l.RootAt != "" && (l.BeforeRoot == nil || !l.Namespaces.Mount.isNew()):
		return bad("RootAt", "it goes with BeforeRoot and a new mount namespace")
	case l.BeforeCommand != nil && l.Root == nil:
		return bad("BeforeCommand", "there is no root to be entered")
	case l.BeforeRoot == nil:
		return nil
	case l.Root == nil || l.Root.mount != nil && l.RootAt == "":
		return bad("BeforeRoot", "the root is not a folder of the host")
	case l.RootAt != "" && !isPath(l.RootAt):
		return bad("RootAt", "%q is not an absolute path in its shortest form", l.RootAt)
	case !isPath(l.rootPlace()):
		return bad("BeforeRoot", "the root %q is not an absolute path in its shortest form", l.Root.path)
	}
	return nil
}
