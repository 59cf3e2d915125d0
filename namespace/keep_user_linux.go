package namespace

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A kept process in a user namespace: the stub joins that before it makes the keeper, so that the PID namespace around the
// process, and what the keeper makes for it, belong to the user namespace. The keeper is root there, and nobody else's.

// keptInUser says whether the process is kept and lives in a user namespace other than the program's.
func (c *compiler) keptInUser() bool { return c.l.keeper != nil && c.user.own }

// keepInUser makes the user namespace of a launch with a keeper, which joins it, and changes the launch accordingly.
func (l *Launch) keepInUser() (done func(), err error) {
	if l.Namespaces.User.Join == nil && !l.newUser() {
		return func() {}, nil
	}
	fail := func(step, path string, err error) (func(), error) {
		return nil, &StartError{Step: step, Path: path, Err: err}
	}
	var open []*os.File
	done = func() { closeFiles(open...) }
	rootless := l.rootless || !l.privileged && !privileged()
	if l.newUser() {
		ns, err := NewUserNamespace(l.UIDMappings, l.GIDMappings)
		if err != nil {
			return nil, err
		}
		open = append(open, ns)
		l.keeper.uids = l.UIDMappings
		l.giveMaps()
		l.UIDMappings, l.GIDMappings, l.Namespaces.User = nil, nil, Namespace{Join: ns}
	} else if !rootless {
		return fail("check", "Namespaces.User", errors.New("with Keep a user namespace must be the process's own, unless the program is an "+
			"ordinary user's"))
	}
	if !rootless { // the keeper renames its files as root of the user namespace
		uid, _ := HostID(l.keeper.uids, 0)
		if err := unix.Fchown(l.keeper.dir, int(uid), -1); err != nil {
			done()
			return fail("fchown", l.keeper.path, err)
		}
	}
	k := l.keeper
	err = errors.Join(enterByTasks(&l.CgroupDir, &l.CgroupTasks, &open), enterByTasks(&k.groupDir, &k.groupTasks, &open))
	if err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// giveMaps writes the process's maps where an IDMap stands for them.
func (l *Launch) giveMaps() {
	own := &IDMap{UIDs: l.UIDMappings, GIDs: l.GIDMappings}
	if l.RootIDMap != nil && len(l.RootIDMap.UIDs) == 0 {
		l.RootIDMap = own
	}
	mounts := append([]Mount(nil), l.Mounts...)
	for i := range mounts {
		if m := mounts[i].IDMap; m != nil && len(m.UIDs) == 0 {
			mounts[i].IDMap = own
		}
	}
	l.Mounts = mounts
}

// enterByTasks turns the folder of a control group, in which a process would be created, into a file that this program
// opens and by which the process enters: from inside the user namespace nothing may be cloned into the host's groups.
func enterByTasks(dir **os.File, tasks *[]*os.File, open *[]*os.File) error {
	if *dir == nil {
		return nil
	}
	name := (*dir).Name() + "/cgroup.procs"
	var fd int
	err := withDescriptor(*dir, func(dir int) (err error) {
		fd, err = unix.Openat(dir, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return &StartError{Step: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	*open = append(*open, f)
	*tasks, *dir = append((*tasks)[:len(*tasks):len(*tasks)], f), nil
	return nil
}

// pipeOwner is the owner, as the program sees it, that the process's pipes get, if it is another one than the program.
func (l *Launch) pipeOwner() (uid uint32, give bool) {
	switch {
	case l.Namespaces.User.Join == nil:
		return l.User.UID, l.User.UID != 0
	case l.rootless || !l.privileged && !privileged():
		return 0, false // ownPipes
	}
	return HostID(l.keeper.uids, l.User.UID)
}

// ownPipes has the process give the pipes to its user, as an ordinary user's program cannot.
func (l *Launch) ownPipes() {
	if l.Namespaces.User.Join == nil || !(l.rootless || !l.privileged && !privileged()) || l.User.UID == 0 {
		return
	}
	for _, f := range []*os.File{l.Stdin, l.Stdout, l.Stderr} {
		if f != nil {
			l.Own = append(l.Own, f)
		}
	}
}
