package namespace

import (
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// filterListener is SECCOMP_FILTER_FLAG_NEW_LISTENER.
const filterListener = 1 << 3

// validate finds what no process could be started with.
func (l *Launch) validate() error {
	if len(l.Args) == 0 || (l.Args[0] == "" && l.Path == "") {
		return bad("Args", "no command")
	}
	for field, list := range map[string][]string{
		"Args": l.Args, "Env": l.Env, "Path": {l.Path}, "Dir": {l.Dir}, "Hostname": {l.Hostname}, "Domainname": {l.Domainname},
		"MaskedPaths": l.MaskedPaths, "ReadOnlyPaths": l.ReadOnlyPaths,
	} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return bad(field, "%q holds a zero byte", s)
			}
		}
	}
	if l.Dir != "" && !path.IsAbs(l.Dir) {
		return bad("Dir", "%q is not an absolute path", l.Dir)
	}
	n := &l.Namespaces
	switch {
	case l.Root == nil && n.Mount.isNew():
		return bad("Root", "no root file system")
	case l.Root != nil && !n.Mount.isNew() && l.BeforeRoot == nil:
		return bad("Namespaces.Mount", "a root file system needs a mount namespace of its own")
	case l.Root == nil && len(l.Mounts)+len(l.MaskedPaths)+len(l.ReadOnlyPaths)+len(l.Sysctls) > 0:
		return bad("Mounts", "the mount namespace is not the process's own")
	}
	if len(l.Hostname) > 64 || len(l.Domainname) > 64 {
		return bad("Hostname", "longer than 64 bytes")
	}
	if (l.Hostname != "" || l.Domainname != "") && n.UTS.Host {
		return bad("Hostname", "the UTS namespace is the host's")
	}
	if len(l.Seccomp)%8 != 0 || len(l.Seccomp) > 4096*8 {
		return bad("Seccomp", "%d bytes are no filter of 1 to 4096 instructions of 8 bytes", len(l.Seccomp))
	}
	if listens := l.SeccompFlags&filterListener != 0; listens != (l.SeccompNotify != nil) || listens && len(l.Seccomp) == 0 {
		return bad("SeccompNotify", "a filter with the flag SECCOMP_FILTER_FLAG_NEW_LISTENER and SeccompNotify need each other")
	}
	if l.User.UID == ^uint32(0) || l.User.GID == ^uint32(0) {
		return bad("User", "the id 4294967295 stands for no user")
	}
	if o := l.OOMScoreAdj; o != nil && (*o < -1000 || *o > 1000) {
		return bad("OOMScoreAdj", "%d is not between -1000 and 1000", *o)
	}
	for _, r := range l.Rlimits {
		if r.Soft > r.Hard {
			return bad("Rlimits", "%s: the soft limit %d is above the hard one, %d", RlimitName(r.Resource), r.Soft, r.Hard)
		}
	}
	if err := checkLabel(l.MountLabel); err != nil {
		return bad("MountLabel", "%w", err)
	}
	if err := l.CheckAttributes(); err != nil {
		return err
	}
	if l.Init && !n.PID.isNew() {
		return bad("Init", "the PID namespace is not the process's own")
	}
	if err := l.validateCgroups(); err != nil {
		return err
	}
	if err := l.validateKeep(); err != nil {
		return err
	}
	if err := l.validatePrepared(); err != nil {
		return err
	}
	if err := l.validatePause(); err != nil {
		return err
	}
	if err := l.validateUser(); err != nil {
		return err
	}
	return l.validateMounts()
}

func (l *Launch) validateCgroups() error {
	if len(l.CgroupPaths) > 0 && l.waits() && l.Created == nil {
		return bad("CgroupPaths", "a process that waits joins them when Created says so, and there is none")
	}
	if len(l.CgroupPaths) > 0 && slices.ContainsFunc(l.Mounts, func(m Mount) bool { return m.CopyUp }) {
		return bad("CgroupPaths", "a tmpfs is filled by CopyUp before they are there: it takes CgroupTasks or CgroupDir")
	}
	if len(l.CgroupPaths) > 0 && (l.Gate == nil || l.Keep != nil) {
		return bad("CgroupPaths", "they go with a Gate and without Keep")
	}
	for _, p := range l.CgroupPaths {
		if !path.IsAbs(p) || strings.IndexByte(p, 0) >= 0 {
			return bad("CgroupPaths", "%q is not an absolute path", p)
		}
	}
	return nil
}

func (l *Launch) validatePrepared() error {
	switch n := &l.Namespaces; {
	case !l.Prepared.hasNetwork():
	case l.Keep != nil || l.newUser() || n.User.Join != nil:
		return bad("Prepared", "a network namespace that is made before goes without Keep and a user namespace")
	case !n.Network.isNew():
		return bad("Prepared", "the network namespace is not the process's own")
	}
	return nil
}

func (l *Launch) validateMounts() error {
	var kernel []string
	dev := false
	for i := range l.Mounts {
		m := &l.Mounts[i]
		atRoot := path.Clean(m.Target) == "/" && m.Type != "nodes"
		if !path.IsAbs(m.Target) || atRoot || strings.IndexByte(m.Target+m.Source+m.Subpath+m.Data+m.Type, 0) >= 0 {
			return bad("Mounts", "target %q is not an absolute path below /", m.Target)
		}
		if m.CopyUp && m.Type != "tmpfs" {
			return bad("Mounts", "%s: only a tmpfs is filled by CopyUp", m.Target)
		}
		if m.Type != "bind" && (m.Root != nil || m.Subpath != "") {
			return bad("Mounts", "%s: only a bind has a Root or a Subpath", m.Target)
		}
		if m.Subpath != "" && !filepath.IsLocal(m.Subpath) {
			return bad("Mounts", "%s: Subpath %q is not a path below the source", m.Target, m.Subpath)
		}
		switch m.Type {
		case "":
			return bad("Mounts", "%s has no type", m.Target)
		case "bind":
			if m.Root != nil && m.Source != "" {
				return bad("Mounts", "%s has both a Source and a Root", m.Target)
			}
			if m.Root == nil && !path.IsAbs(m.Source) {
				return bad("Mounts", "source %q of %s is not an absolute path", m.Source, m.Target)
			}
		case "link":
			if m.Source == "" || path.Dir(path.Clean(m.Target)) == "/" {
				return bad("Mounts", "%s: a link has a Source, and lies in a folder", m.Target)
			}
		case "nodes":
			dev = dev || path.Clean(m.Target) == "/dev"
			for _, d := range m.Nodes {
				if d.Path == "" || strings.Contains(d.Path, "/") || d.Path == "." || d.Path == ".." {
					return bad("Mounts", "device %q is not a name in %s", d.Path, m.Target)
				}
			}
		case "dev":
			dev = true
			for _, d := range m.Nodes {
				if d.Path == "" || path.IsAbs(d.Path) || path.Clean(d.Path) != d.Path || strings.HasPrefix(d.Path, "..") {
					return bad("Mounts", "device %q is not a path below %s", d.Path, m.Target)
				}
			}
		case "proc", "sysfs":
			kernel = append(kernel, path.Clean(m.Target))
		}
	}
	below := func(p string) bool {
		for _, k := range kernel {
			if strings.HasPrefix(p, k+"/") {
				return true
			}
		}
		return false
	}
	for _, p := range append(l.MaskedPaths[:len(l.MaskedPaths):len(l.MaskedPaths)], l.ReadOnlyPaths...) {
		if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
			return bad("MaskedPaths", "%q is not an absolute path below / in its shortest form", p)
		}
	}
	if len(l.MaskedPaths) > 0 && !dev {
		return bad("MaskedPaths", "masking needs a mount of type dev")
	}
	if l.TTY && l.Root != nil && !dev {
		return bad("TTY", "a terminal needs a mount of type dev")
	}
	for _, s := range l.Sysctls {
		name := s.Name
		if !strings.Contains(name, "/") {
			name = strings.ReplaceAll(name, ".", "/")
		}
		if !below("/proc/sys/"+name) || path.Clean("/"+name) != "/"+name || strings.IndexByte(s.Name+s.Value, 0) >= 0 {
			return bad("Sysctls", "%q cannot be set", s.Name)
		}
	}
	return nil
}

// hint says what may help against an error.
func hint(e *StartError) string {
	s := string(e.Step)
	if h := sinceHint(e); h != "" {
		return h
	}
	if h := confinedHint(e); h != "" && errors.Is(e.Err, errPermission) {
		return h
	}
	switch {
	case errors.Is(e.Err, errPermission) && (s == "unshare" || s == "clone" || s == "setns"):
		return " (starting containers takes root, or CAP_SYS_ADMIN)"
	case s == "execve" && errors.Is(e.Err, errNotFound) && strings.Contains(e.Path, "/"):
		return " (it, its interpreter or its dynamic linker is not in the image)"
	case s == "execve" && errors.Is(e.Err, errExecFormat):
		return " (it is made for another architecture, or is no executable)"
	case s == "write" && errors.Is(e.Err, errNotFound) && strings.HasPrefix(e.Path, "/proc/self/attr/"):
		return " (the profile is not loaded)"
	case s == "capset" && errors.Is(e.Err, errPermission):
		return " (nobody can give a capability that he does not have)"
	case errors.Is(e.Err, errPermission) && e.Path == listenerName:
		return " (taking the process's seccomp listener takes CAP_SYS_PTRACE)"
	case s == "prlimit64" && errors.Is(e.Err, errPermission):
		return " (raising a hard limit takes CAP_SYS_RESOURCE)"
	}
	return ""
}
