package cgroups

// A Hierarchy is a tree of groups as it is mounted for a container: what mount(2) takes for it.
type Hierarchy struct {
	// Name is the folder that it usually has below /sys/fs/cgroup: "memory", "cpu,cpuacct", "systemd", "unified". It is
	// empty on v2, where the one hierarchy is /sys/fs/cgroup itself.
	Name string
	// Type is the file system, "cgroup" or "cgroup2".
	Type string
	// Options are the file system's: "memory", "cpu,cpuacct", "none,name=systemd".
	Options string
}
