package container

import (
	"fmt"
	"path"
	"strings"
	"syscall"

	"github.com/caisson-engine/caisson/internal/word"
	"github.com/caisson-engine/caisson/namespace"
)

// wrong returns the error for a field that cannot be used: what is wrong with it, and what would be right.
func wrong(field, format string, args ...any) error {
	return &StartError{Step: "check", Path: field, Err: fmt.Errorf(format, args...)}
}

// firstError calls the checks until one finds something.
func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Check looks at every field, as Start does before it makes anything: the error is the one that Start would return for a
// field that is wrong. A user, or a command that is not in the root, is not looked for.
func (c *Container) Check() error { return c.check() }

// check looks at every field, before anything is made.
func (c *Container) check() error { return firstError(c.Process.check, c.checkSetUp) }

// checkSetUp looks at what is not the command's.
func (c *Container) checkSetUp() error {
	return firstError(c.checkIsolation, c.checkSeccomp, c.checkNames, c.checkSysctls, c.checkMounts, c.checkDevices,
		c.checkMemory, c.checkProcessors, c.checkCgroup, c.checkScope, c.checkLimits, c.checkKeep, c.checkShared, c.checkInit,
		c.checkUserNamespace, c.checkForkServer, c.checkHooks)
}

func (p *Process) check() error {
	return firstError(p.checkCommand, p.checkUser, p.checkRlimits, p.checkFiles, p.checkMaxOutput, p.CheckAttributes)
}

func (p *Process) checkCommand() error {
	if len(p.Args) == 0 {
		return wrong("Args", "there is no command: give at least one argument")
	}
	if p.Args[0] == "" {
		return wrong("Args", "the command is the empty string")
	}
	for i, a := range p.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return wrong(fmt.Sprintf("Args[%d]", i), "%q contains a NUL byte", a)
		}
	}
	for i, e := range p.Env {
		if strings.IndexByte(e, 0) >= 0 {
			return wrong(fmt.Sprintf("Env[%d]", i), "%q contains a NUL byte", e)
		}
		if strings.IndexByte(e, '=') < 1 {
			return wrong(fmt.Sprintf("Env[%d]", i), "%q is not of the form name=value", e)
		}
	}
	if p.Dir == "" {
		return nil
	}
	return checkPath("Dir", p.Dir)
}

// checkPath wants an absolute path.
func checkPath(field, name string) error {
	switch {
	case strings.IndexByte(name, 0) >= 0:
		return wrong(field, "%q contains a NUL byte", name)
	case !path.IsAbs(name):
		return wrong(field, "%q is not an absolute path", name)
	case len(name) >= 4096:
		return wrong(field, "the path is %d bytes long, the most is 4095", len(name))
	}
	return nil
}

func (p *Process) checkUser() error {
	for i, name := range append([]string{p.User}, p.Groups...) {
		if strings.ContainsAny(name, "\x00\n") {
			field := "User"
			if i > 0 {
				field = fmt.Sprintf("Groups[%d]", i-1)
			}
			return wrong(field, "%q contains a NUL byte or a line break", name)
		}
	}
	if _, err := p.capabilitySets(false, 0); err != nil {
		return err
	}
	if p.Umask != nil && *p.Umask&^0o777 != 0 {
		return wrong("Umask", "%#o has more than permission bits: use 0 to 0777", uint32(*p.Umask))
	}
	if a := p.OOMScoreAdj; a != nil && (*a < -1000 || *a > 1000) {
		return wrong("OOMScoreAdj", "%d is not between -1000 and 1000", *a)
	}
	if _, err := signalNumber("StopSignal", p.StopSignal); err != nil {
		return err
	}
	if p.WaitDelay < 0 {
		return wrong("WaitDelay", "%v is negative", p.WaitDelay)
	}
	return nil
}

func (p *Process) checkRlimits() error {
	seen := make(map[int]bool)
	for i, l := range p.Rlimits {
		field := fmt.Sprintf("Rlimits[%d]", i)
		switch {
		case l.Resource < 0 || l.Resource > 15:
			return wrong(field, "there is no resource %d", l.Resource)
		case l.Soft > l.Hard:
			return wrong(field, "the soft limit %d is above the hard one, %d", l.Soft, l.Hard)
		case seen[l.Resource]:
			return wrong(field, "resource %d is limited twice", l.Resource)
		}
		seen[l.Resource] = true
	}
	return nil
}

func (p *Process) checkFiles() error {
	for i, f := range p.ExtraFiles {
		if f == nil {
			return wrong(fmt.Sprintf("ExtraFiles[%d]", i), "the file is nil")
		}
	}
	if p.TTY && p.Stderr != nil && !sameWriter(p.Stderr, p.Stdout) {
		return wrong("Stderr", "a terminal has one output: leave Stderr nil with TTY")
	}
	if !p.TTY && p.TTYSize != (namespace.WinSize{}) {
		return wrong("TTYSize", "there is no terminal: set TTY")
	}
	return nil
}

func (c *Container) checkIsolation() error {
	if c.Root == nil {
		return wrong("Root", "there is no root file system: use namespace.Dir or layer.Mount")
	}
	kinds := []struct {
		name string
		ns   namespace.Namespace
	}{
		{"Mount", c.Namespaces.Mount}, {"PID", c.Namespaces.PID}, {"Network", c.Namespaces.Network},
		{"IPC", c.Namespaces.IPC}, {"UTS", c.Namespaces.UTS}, {"Cgroup", c.Namespaces.Cgroup},
		{"User", c.Namespaces.User}, {"Time", c.Namespaces.Time},
	}
	for _, k := range kinds {
		if k.ns.Host && k.ns.Join != nil {
			return wrong("Namespaces."+k.name, "both Host and Join are set: use one")
		}
	}
	if !isNew(c.Namespaces.Mount) {
		return wrong("Namespaces.Mount", "a container has a mount namespace of its own: leave it zero")
	}
	return nil
}

func isNew(n namespace.Namespace) bool { return !n.Host && n.Join == nil }

// maxHostname is how long a host's name may be, in bytes.
const maxHostname = 64

func hostname(s string) bool { return len(s) <= maxHostname && word.Is(s, "_", ".-") }

func (c *Container) checkNames() error {
	if !isNew(c.Namespaces.UTS) {
		if c.Hostname != "" {
			return wrong("Hostname", "%q cannot be set in a UTS namespace that is not new", c.Hostname)
		}
		if c.Domainname != "" {
			return wrong("Domainname", "%q cannot be set in a UTS namespace that is not new", c.Domainname)
		}
	}
	if c.Hostname != "" && !hostname(c.Hostname) {
		return wrong("Hostname", "%q is not a host name: use 1 to 64 letters, digits, hyphens, dots and underscores, "+
			"with a letter or digit at both ends", c.Hostname)
	}
	if len(c.Domainname) > 64 || strings.IndexByte(c.Domainname, 0) >= 0 {
		return wrong("Domainname", "%q is longer than 64 bytes or contains a NUL byte", c.Domainname)
	}
	return nil
}

// signalNumber returns the signal's number, that of SIGTERM for nil.
func signalNumber(field string, s any) (syscall.Signal, error) {
	if s == nil {
		return syscall.SIGTERM, nil
	}
	n, ok := s.(syscall.Signal)
	if !ok || n < 1 || n > 64 {
		return 0, wrong(field, "%v is not a syscall.Signal from 1 to 64", s)
	}
	return n, nil
}
