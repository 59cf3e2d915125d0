package cgroups

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// evacuateRounds bounds how often Evacuate looks for processes that were forked meanwhile.
const evacuateRounds = 20

// Evacuate moves all processes of the group that the program was in at Detect, the program itself among them, into a
// new group below it of that name, so that the controllers can be handed to other groups beside: the way out of
// ErrParentBusy for a program that has a group to itself, such as a service with systemd's Delegate=yes, or the main
// process of a container. It is only of use on v2, and does nothing elsewhere. The Manager goes on making groups where
// it did. The group stays when the program ends; if it is there already, it is used.
func (m *Manager) Evacuate(name string) error {
	if m.mode != V2 {
		return nil
	}
	names, absolute, err := splitPath(name)
	if err != nil {
		return err
	}
	if absolute || len(names) != 1 {
		return fmt.Errorf("evacuate to %.300q: is not a single name", name)
	}
	h := m.unified
	p := place{m: m, h: h}
	if err := unix.Mkdirat(h.own, name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("mkdir %s/%s: %w", h.path, name, p.advise(err))
	}
	dir, err := openDir(h.own, name)
	if err != nil {
		return fmt.Errorf("open %s/%s: %w", h.path, name, err)
	}
	defer unix.Close(dir)
	n := &node{m: m, h: h, dir: dir, path: h.path + "/" + name}
	for range evacuateRounds {
		b, err := readFile(h.own, "cgroup.procs")
		if err != nil {
			return fmt.Errorf("read %s/cgroup.procs: %w", h.path, err)
		}
		pids, err := parsePids(b)
		if err != nil {
			return fmt.Errorf("read %s/cgroup.procs: %w", h.path, err)
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			err := writeFile(dir, "cgroup.procs", itoa(int64(pid)))
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("move process %d to %s: %w", pid, n.path, adviseAdd(n, err))
			}
		}
	}
	return fmt.Errorf("evacuate %s: %w: processes fork faster than they can be moved", h.path, ErrBusy)
}
