// Package cgroups puts groups of processes under limits and measures them, on every layout of control groups that
// Linux has: cgroup v1 (one hierarchy a controller), v2 (one unified hierarchy), and hybrid hosts, which mount both.
//
// [Detect] reads what is mounted and which group the program itself is in. A [Manager] creates groups below that one,
// or at an absolute path; one [Group] stands for a directory in each hierarchy, so a caller never asks which version
// it runs on:
//
//	m, err := cgroups.Detect()
//	g, err := m.Create("job-1", &cgroups.Resources{Memory: 64 << 20, Pids: 100})
//	defer g.Close()
//	defer g.Remove()
//	err = g.Add(pid)
//	s, err := g.Stats()
//
// A process that is to start inside a group joins it in one of two ways: on v2 by clone3(2) with CLONE_INTO_CGROUP and
// the descriptor of [Group.Dir]; else by writing "0" into each of the files of [Group.Tasks] itself.
//
// Where a host has both versions, a controller is used where it is mounted as v1, else in the unified hierarchy if
// it is there; pressure, freezing and killing always go through the unified hierarchy when there is one.
//
// Where systemd runs, groups of its making are its own: [CreateScope] asks it for one that is the program's to divide.
// The unit can have limits as its properties, which systemctl shows.
// [Manager.Delegation] says what an ordinary user may do. [Group.Watch] tells of OOM kills and limits reached.
//
// The package needs Linux 5.10. What came later is used when it is there: cgroup.kill (5.14), memory.peak and
// memory.reclaim (5.19). It never moves a process that it was not asked to move. What it leaves behind are the groups
// that were not removed: directories below the file systems mounted at /sys/fs/cgroup, which no reboot survives.
// On other systems every call returns an error that satisfies errors.Is(err, errors.ErrUnsupported).
package cgroups
