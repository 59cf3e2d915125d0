package container

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/caisson-engine/caisson/namespace"
)

// A Mount is a mount of a container: a bind of a file or folder of the host, a tmpfs, or another file system. If Type
// is empty and Source is not, it is a bind.
type Mount = namespace.Mount

// The flags of a [Mount].
const (
	ReadOnly = namespace.ReadOnly
	NoSuid   = namespace.NoSuid
	NoDev    = namespace.NoDev
	NoExec   = namespace.NoExec
)

// Bind returns the mount of source, a file or folder of the host, at target. A volume is bound by its folder's path.
func Bind(source, target string, flags ...namespace.MountFlags) Mount {
	return Mount{Type: "bind", Source: source, Target: target, Flags: join(flags), Recursive: true}
}

// Tmpfs returns the mount of a new tmpfs at target that nobody can execute files of or use devices in, as Docker's.
// data are its options, such as "size=64m,mode=1777".
func Tmpfs(target, data string) Mount {
	return Mount{Type: "tmpfs", Target: target, Data: data, Flags: NoSuid | NoDev | NoExec}
}

func join(flags []namespace.MountFlags) (all namespace.MountFlags) {
	for _, f := range flags {
		all |= f
	}
	return all
}

// maskedPaths and readOnlyPaths are Docker's: files of proc and sysfs that tell of or act on the host.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// thermalThrottle are counters that tell of the load of the host's processors, masked by Docker too.
var thermalThrottle = sync.OnceValue(func() []string {
	paths, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	return paths
})

// defaultMounts are those that every container has.
func (c *Container) defaultMounts() []Mount {
	kernel := NoSuid | NoDev | NoExec
	sys, shm := kernel|ReadOnly, c.ShmSize
	if c.Privileged {
		sys = kernel
	}
	if shm == 0 {
		shm = 64 << 20
	}
	all := []Mount{
		{Type: "proc", Target: "/proc", Flags: kernel},
		{Type: "dev", Target: "/dev", Flags: NoSuid, Data: fmt.Sprintf("size=%d", shm)},
		{Type: "sysfs", Target: "/sys", Flags: sys},
	}
	return append(all, c.cgroupMounts(sys)...)
}

const cgroupTarget = "/sys/fs/cgroup"

// cgroupMounts are the view of the control groups that the container is in: one hierarchy at /sys/fs/cgroup, or a
// folder with many.
func (c *Container) cgroupMounts(flags namespace.MountFlags) []Mount {
	if c.NoCgroup || len(c.uids) > 0 && !isNew(c.Namespaces.Cgroup) { // which only its owner may mount
		return nil
	}
	m, err := manager()
	if err != nil {
		return nil // the making of the group says it
	}
	hierarchies := m.Hierarchies()
	var all []Mount
	if len(hierarchies) != 1 || hierarchies[0].Name != "" {
		all = append(all, Mount{Type: "tmpfs", Target: cgroupTarget, Flags: flags, Data: "mode=755"})
	}
	for _, h := range hierarchies {
		all = append(all, Mount{Type: h.Type, Target: path.Join(cgroupTarget, h.Name), Flags: flags, Data: h.Options})
	}
	return all
}

// allMounts returns the default mounts and the container's own, in the order in which they are made.
func (c *Container) allMounts() []Mount {
	all := c.defaultMounts()
	for _, m := range c.Mounts {
		if m.Type == "" && (m.Source != "" || m.Root != nil) {
			m.Type = "bind"
		}
		if m.Target == cgroupTarget {
			all = slices.DeleteFunc(all, func(d Mount) bool { return strings.HasPrefix(d.Target, cgroupTarget+"/") })
		}
		i := slices.IndexFunc(all, func(d Mount) bool { return d.Target == m.Target })
		if i >= 0 {
			all[i] = m
			continue
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b Mount) int { return depth(a.Target) - depth(b.Target) })
	return all
}

func depth(target string) int { return strings.Count(target, "/") }

// below returns the paths that lie below a mount of one of the kernel's own file systems.
func below(mounts []Mount, paths []string) []string {
	var all []string
	for _, p := range paths {
		for _, m := range mounts {
			if (m.Type == "proc" || m.Type == "sysfs") && strings.HasPrefix(p, m.Target+"/") {
				all = append(all, p)
				break
			}
		}
	}
	return all
}

// hiddenPaths returns what is masked and what is read-only.
func (c *Container) hiddenPaths(mounts []Mount) (masked, readOnly []string) {
	masked, readOnly = c.MaskedPaths, c.ReadOnlyPaths
	if masked == nil && !c.Privileged {
		masked = below(mounts, append(maskedPaths[:len(maskedPaths):len(maskedPaths)], thermalThrottle()...))
	}
	if readOnly == nil && !c.Privileged {
		readOnly = below(mounts, readOnlyPaths)
	}
	return masked, readOnly
}

// DefaultMaskedPaths returns the paths that a container which is not privileged finds covered: the maskedPaths of an OCI
// configuration.
func DefaultMaskedPaths() []string { return slices.Clone(maskedPaths) }

// DefaultReadOnlyPaths returns the paths that it finds read-only: the readonlyPaths of an OCI configuration.
func DefaultReadOnlyPaths() []string { return slices.Clone(readOnlyPaths) }
