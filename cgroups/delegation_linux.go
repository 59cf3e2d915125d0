package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Delegation finds out what the program may do with control groups. It looks anew each time, and changes nothing.
func (m *Manager) Delegation() *Delegation {
	d := &Delegation{Group: m.hierarchies[0].path}
	if m.unified != nil && m.mode == V2 {
		d.Group = m.unified.path
		if b, err := readFile(m.unified.own, "cgroup.controllers"); err == nil {
			d.Controllers = strings.Fields(string(b))
			slices.Sort(d.Controllers)
		}
		d.Busy = hasProcesses(m.unified.own)
	} else {
		d.Controllers = m.Controllers()
	}
	if m.unified != nil {
		d.NSDelegate = slices.Contains(m.unified.mount.options, "nsdelegate")
	}
	d.UserManager = m.userManager(os.Geteuid())
	for _, h := range m.hierarchies {
		if err := h.writable(); err != nil {
			d.Err = m.adviseDelegation(d, h, err)
			return d
		}
	}
	d.Usable = true
	return d
}

// writable checks the files that a group's owner has to be able to write.
func (h *hierarchy) writable() error {
	files := []string{".", "cgroup.procs"}
	if h.unified {
		files = append(files, "cgroup.subtree_control")
	}
	for _, file := range files {
		err := unix.Faccessat(h.own, file, unix.W_OK, unix.AT_EACCESS)
		if err != nil && !errors.Is(err, unix.ENOENT) { // the root of a hierarchy lacks some
			return fmt.Errorf("write access to %s: %w", filepath.Join(h.path, file), err)
		}
	}
	return nil
}

func (m *Manager) adviseDelegation(d *Delegation, h *hierarchy, err error) error {
	switch {
	case !h.unified:
		return fmt.Errorf("%w: %w (controllers %s are on cgroup v1, which is not for ordinary users: run as root, or boot "+
			"with systemd.unified_cgroup_hierarchy=1)", err, ErrNotDelegated, strings.Join(h.names, ","))
	case m.mode == V2 && d.UserManager != "":
		return fmt.Errorf("%w: %w (%s is: start with systemd-run --user --scope -p Delegate=yes)", err, ErrNotDelegated,
			d.UserManager)
	}
	return fmt.Errorf("%w: %w (run as root, or have the group delegated: Delegate=yes of a systemd unit, or chown of "+
		"the folder and the files that /sys/kernel/cgroup/delegate lists)", err, ErrNotDelegated)
}

// userManager returns the folder of the group of the user's own systemd, if the user may write there.
func (m *Manager) userManager(uid int) string {
	if m.unified == nil {
		return ""
	}
	id := strconv.Itoa(uid)
	folder := filepath.Join(m.unified.mount.point, "user.slice", "user-"+id+".slice", "user@"+id+".service")
	if unix.Faccessat(unix.AT_FDCWD, filepath.Join(folder, "cgroup.procs"), unix.W_OK, unix.AT_EACCESS) != nil ||
		unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK, unix.AT_EACCESS) != nil {
		return ""
	}
	return folder
}
