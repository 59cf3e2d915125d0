package bundle

import (
	"errors"
	"os"
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// Options are what a launch needs besides the configuration.
type Options struct {
	// State is what a seccomp agent is told of the container. Version, Status and Pid are filled in.
	State specs.State
	// Hierarchies are those of the control groups, and Groups the folders of the container's own, for mounts of type cgroup.
	Hierarchies []cgroups.Hierarchy
	Groups      []string
	// KeepKeyring leaves the process the session keyring of the program.
	KeepKeyring bool
}

// A Launch is what the configuration says, ready to be started, with the files that it needs.
type Launch struct {
	*namespace.Launch
	files  []*os.File
	mounts []int // where in the configuration each of Mounts is
}

// Close closes the namespaces that are joined.
func (l *Launch) Close() {
	for _, f := range l.files {
		_ = f.Close()
	}
}

// Launch translates the configuration into the start of the container's first process, but for its standard files and
// its control group.
func (b *Bundle) Launch(o *Options) (_ *Launch, err error) {
	s := b.Spec
	l := &Launch{Launch: &namespace.Launch{
		Root: namespace.Dir(b.Rootfs()), ReadOnlyRoot: s.Root.Readonly, Hostname: s.Hostname, Domainname: s.Domainname,
		MountLabel: s.Linux.MountLabel,
	}}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err := b.namespaces(l); err != nil {
		return nil, err
	}
	if err := b.process(l.Launch, s.Process, o); err != nil {
		return nil, err
	}
	l.Personality, l.MemoryPolicy = s.Linux.Personality, s.Linux.MemoryPolicy
	if l.Mounts, l.mounts, err = b.mounts(o); err != nil {
		return nil, err
	}
	if needsHost(l.Mounts) && l.BeforeRoot == nil { // whose mounts are in sight then
		l.BeforeRoot = func(*namespace.Process) error { return nil }
	}
	nodes, err := b.nodes()
	if err != nil {
		return nil, err
	}
	l.Mounts = append(l.Mounts, nodes...)
	for i, p := range s.Linux.MaskedPaths {
		if p, err = cleanPath("linux.maskedPaths", i, p); err != nil {
			return nil, err
		}
		l.MaskedPaths = append(l.MaskedPaths, p)
	}
	for i, p := range s.Linux.ReadonlyPaths {
		if p, err = cleanPath("linux.readonlyPaths", i, p); err != nil {
			return nil, err
		}
		l.ReadOnlyPaths = append(l.ReadOnlyPaths, p)
	}
	if l.RootPropagation, err = propagation(s.Linux.RootfsPropagation); err != nil {
		return nil, err
	}
	if l.Sysctls, err = b.sysctls(); err != nil {
		return nil, err
	}
	return l, nil
}

func cleanPath(field string, i int, p string) (string, error) {
	if !path.IsAbs(p) || path.Clean(p) == "/" {
		return "", wrong(index(field, i), "%q is not an absolute path below /", p)
	}
	return path.Clean(p), nil
}

func propagation(s string) (namespace.Propagation, error) {
	switch s {
	case "", "private", "rprivate":
		return namespace.Private, nil
	case "slave", "rslave":
		return namespace.Slave, nil
	case "shared", "rshared":
		return namespace.Shared, nil
	case "unbindable", "runbindable":
		return namespace.Unbindable, nil
	}
	return 0, wrong("linux.rootfsPropagation", "there is no propagation %q", s)
}

// fields are the names in a configuration of the fields of a namespace.Launch that its errors name.
func fields() map[string]string {
	return map[string]string{
		"Args": "process.args", "Env": "process.env", "Dir": "process.cwd", "Path": "process.args", "Root": "root.path",
		"Namespaces.Mount": "linux.namespaces", "Namespaces.User": "linux.namespaces", "Namespaces.Time": "linux.namespaces",
		"Mounts": "mounts", "Hostname": "hostname", "Domainname": "domainname", "Seccomp": "linux.seccomp",
		"User": "process.user", "User.UID": "process.user.uid", "User.GID": "process.user.gid",
		"User.Groups": "process.user.additionalGids", "OOMScoreAdj": "process.oomScoreAdj", "Rlimits": "process.rlimits",
		"MountLabel": "linux.mountLabel", "UIDMappings": "linux.uidMappings", "GIDMappings": "linux.gidMappings",
		"TimeOffsets": "linux.timeOffsets", "MaskedPaths": "linux.maskedPaths", "TTY": "process.terminal",
		"Sysctls": "linux.sysctl", "BeforeRoot": "root.path", "Scheduler.Policy": "process.scheduler.policy",
		"Scheduler.Nice": "process.scheduler.nice", "Scheduler.Priority": "process.scheduler.priority",
		"Scheduler.Runtime": "process.scheduler.runtime", "Scheduler.Period": "process.scheduler.period",
		"Scheduler.Flags": "process.scheduler.flags", "IOPriority.Class": "process.ioPriority.class",
		"IOPriority.Priority": "process.ioPriority.priority", "CPUAffinity.Initial": "process.execCPUAffinity.initial",
		"CPUAffinity.Final": "process.execCPUAffinity.final", "Personality.Domain": "linux.personality.domain",
		"Personality.Flags": "linux.personality.flags", "MemoryPolicy.Mode": "linux.memoryPolicy.mode",
		"MemoryPolicy.Flags": "linux.memoryPolicy.flags", "MemoryPolicy.Nodes": "linux.memoryPolicy.nodes",
		"AppArmor": "process.apparmorProfile", "SELinux": "process.selinuxLabel",
	}
}

// Explain does what the function Explain does with an error of this start, and names the mount that it is about.
func (l *Launch) Explain(err error) error {
	var m *namespace.MountError
	if !errors.As(err, &m) {
		return Explain(err)
	}
	if m.Index >= len(l.mounts) { // they come after all mounts
		return &FieldError{Field: "linux.devices", Err: err}
	}
	return &FieldError{Field: index("mounts", l.mounts[m.Index]), Err: err}
}

// Explain names the field of the configuration in an error of a start that is about a field.
func Explain(err error) error {
	var start *namespace.StartError
	if !errors.As(err, &start) || start.Step != "check" {
		return err
	}
	if field, ok := fields()[start.Path]; ok {
		return &FieldError{Field: field, Err: start.Err}
	}
	return err
}

// ExplainLimit names the field of the configuration in an error of a control group that is about a limit.
func ExplainLimit(err error) error {
	var limit *cgroups.ResourceError
	if !errors.As(err, &limit) {
		return err
	}
	field := container.SpecField(limit.Field)
	return wrong(field, "%s: %w", limit.Value, limit.Err)
}
