package bundle

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/namespace"
)

// Process translates a process that is executed in the running container: everything that is its own, with the
// configuration's seccomp filter. What is wrong with p is a [*FieldError] whose Field begins with "process".
func (b *Bundle) Process(p *specs.Process, o *Options) (*namespace.Launch, error) {
	l := &namespace.Launch{}
	l.Personality, l.MemoryPolicy = b.Spec.Linux.Personality, b.Spec.Linux.MemoryPolicy
	l.CPUAffinity = p.ExecCPUAffinity
	return l, b.process(l, p, o)
}

// process puts what is the process's own into the launch.
func (b *Bundle) process(l *namespace.Launch, p *specs.Process, o *Options) error {
	if err := checkProcess(p); err != nil {
		return err
	}
	l.Args, l.Env, l.Dir = p.Args, slices.Clone(p.Env), path.Clean(p.Cwd)
	l.TTY = p.Terminal
	if s := p.ConsoleSize; s != nil && p.Terminal {
		l.TTYSize = namespace.WinSize{Rows: uint16(s.Height), Cols: uint16(s.Width)}
	}
	l.User = namespace.User{UID: p.User.UID, GID: p.User.GID, Groups: p.User.AdditionalGids}
	if u := p.User.Umask; u != nil {
		mask := os.FileMode(*u)
		l.Umask = &mask
	}
	l.NewPrivileges, l.OOMScoreAdj = !p.NoNewPrivileges, p.OOMScoreAdj
	l.Scheduler, l.IOPriority = p.Scheduler, p.IOPriority
	l.AppArmor, l.SELinux, l.KeepKeyring = p.ApparmorProfile, p.SelinuxLabel, o.KeepKeyring
	var err error
	if l.Capabilities, err = capabilities(p.Capabilities); err != nil {
		return err
	}
	for i, r := range p.Rlimits {
		field := index("process.rlimits", i)
		n, ok := namespace.RlimitByName(r.Type)
		switch {
		case !ok || !strings.HasPrefix(r.Type, "RLIMIT_"):
			return wrong(field+".type", "there is no limit %q", r.Type)
		case r.Soft > r.Hard:
			return wrong(field+".soft", "%d is above the hard limit, %d", r.Soft, r.Hard)
		case slices.ContainsFunc(l.Rlimits, func(o namespace.Rlimit) bool { return o.Resource == n }):
			return wrong(field+".type", "%s is there twice", r.Type)
		}
		l.Rlimits = append(l.Rlimits, namespace.Rlimit{Resource: n, Soft: r.Soft, Hard: r.Hard})
	}
	return b.seccomp(l, o)
}

// Home adds HOME to an environment that lacks it: the folder that the user has in the root's /etc/passwd, or "/".
func Home(l *namespace.Launch, root *namespace.Root) {
	if slices.ContainsFunc(l.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		return
	}
	home := "/"
	if u, err := root.LookupUser(fmt.Sprint(l.User.UID)); err == nil && u.Home != "" {
		home = u.Home
	}
	l.Env = append(l.Env, "HOME="+home)
}

func checkProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return wrong("process.args", "there is no command")
	case p.Cwd == "":
		return wrong("process.cwd", "there is none")
	case !path.IsAbs(p.Cwd):
		return wrong("process.cwd", "%q is not an absolute path", p.Cwd)
	case p.User.Umask != nil && *p.User.Umask > 0o777:
		return wrong("process.user.umask", "%#o has more than permission bits", *p.User.Umask)
	case p.ConsoleSize != nil && p.ConsoleSize.Height > 65535:
		return wrong("process.consoleSize.height", "%d is above 65535", p.ConsoleSize.Height)
	case p.ConsoleSize != nil && p.ConsoleSize.Width > 65535:
		return wrong("process.consoleSize.width", "%d is above 65535", p.ConsoleSize.Width)
	}
	for i, a := range p.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return wrong(index("process.args", i), "%q holds a zero byte", a)
		}
	}
	for i, e := range p.Env {
		if strings.IndexByte(e, 0) >= 0 || strings.IndexByte(e, '=') < 1 {
			return wrong(index("process.env", i), "%q is not name=value", e)
		}
	}
	return nil
}

// capabilities reads the five sets. None means none. Names that the kernel or this program does not know are left out, as are
// ambient ones that are not permitted and inheritable, as the kernel has it.
func capabilities(c *specs.LinuxCapabilities) (s namespace.Capabilities, err error) {
	if c == nil {
		return s, nil
	}
	known := namespace.CapabilitySet(1)<<(namespace.LastCapability()+1) - 1
	for _, x := range []struct {
		names []string
		to    *namespace.CapabilitySet
	}{
		{c.Bounding, &s.Bounding}, {c.Effective, &s.Effective}, {c.Permitted, &s.Permitted},
		{c.Inheritable, &s.Inheritable}, {c.Ambient, &s.Ambient},
	} {
		for _, name := range x.names {
			if n, err := namespace.ParseCapability(name); err == nil {
				x.to.Add(n)
			}
		}
		*x.to &= known
	}
	if left := s.Effective &^ s.Permitted; left != 0 {
		return s, wrong("process.capabilities.effective", "%s is not in process.capabilities.permitted", left)
	}
	s.Ambient &= s.Permitted & s.Inheritable
	return s, nil
}
