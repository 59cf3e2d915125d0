package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/caisson-engine/caisson/namespace"
)

// An IDMapping maps a range of ids of a container's user namespace to ids of the host.
type IDMapping = namespace.IDMapping

// checkUserNamespace looks at what is said in two ways; the maps themselves are looked at by package namespace.
func (c *Container) checkUserNamespace() error {
	mapped, n := len(c.UIDMappings)+len(c.GIDMappings) > 0, c.Namespaces.User
	switch {
	case c.UserNamespace != "" && mapped:
		return wrong("UserNamespace", "%q is set, but so are UIDMappings or GIDMappings: use one", c.UserNamespace)
	case c.UserNamespace != "" && !isNew(n):
		return wrong("UserNamespace", "%q is set, but Namespaces.User is not new", c.UserNamespace)
	case mapped && !isNew(n):
		return wrong("UIDMappings", "they are set, but Namespaces.User is not new")
	case (mapped || c.UserNamespace != "") && c.PidsLimit == 1:
		return wrong("PidsLimit", "to start in a user namespace takes 2 processes for a moment")
	}
	return nil
}

// findMappings finds the maps of the container's user namespace.
func (c *Container) findMappings() (err error) {
	c.uids, c.gids = c.UIDMappings, c.GIDMappings
	switch {
	case len(c.uids)+len(c.gids) > 0 || !isNew(c.Namespaces.User):
	case isKeepID(c.UserNamespace):
		return c.keepID()
	case c.UserNamespace != "":
		if c.uids, c.gids, err = namespace.SubordinateMappings(c.UserNamespace); err != nil {
			return &StartError{Step: "look up subordinate ids", Path: "UserNamespace", Err: err}
		}
	case !namespace.Privileged():
		if c.rootUser, c.uids, c.gids = c.userOfRoot(); c.rootUser == nil {
			c.uids, c.gids = namespace.OwnMappings()
		}
	}
	return nil
}

// userOfRoot is the user namespace that the root was mounted in, if any.
func (c *Container) userOfRoot() (user *os.File, uids, gids []IDMapping) {
	if c.Root == nil {
		return nil, nil, nil
	}
	return c.Root.UserNamespace()
}

// checkMapped finds ids of the process that its user namespace has not.
func (c *Container) checkMapped(u *namespace.User) error {
	missing := func(field string, maps []IDMapping, id uint32, what string) error {
		if _, ok := namespace.HostID(maps, id); ok || len(maps) == 0 {
			return nil
		}
		hint := ""
		if !namespace.Privileged() {
			hint = ": an ordinary user's containers have the user's own id, as root's, and those that /etc/subuid and /etc/subgid give it"
		}
		return wrong(field, "the id %d, %s, is not in the map%s", id, what, hint)
	}
	err := firstError(
		func() error { return missing("User.UID", c.uids, u.UID, "the process's user") },
		func() error { return missing("User.GID", c.gids, u.GID, "the process's group") },
	)
	for _, g := range u.Groups {
		if err == nil {
			err = missing("User.Groups", c.gids, g, "a supplementary group")
		}
	}
	return err
}

// rootIDMap says how the root's files show.
func (c *Container) rootIDMap() *namespace.IDMap {
	if len(c.uids) == 0 || c.Root == nil || !namespace.Privileged() {
		return nil
	}
	owner, ok := c.Root.Owner()
	for _, m := range c.uids {
		if owner >= m.HostID && owner-m.HostID < m.Size {
			return nil // they are the container's already
		}
	}
	if !ok {
		return nil
	}
	return &namespace.IDMap{}
}

// mappedGroups leaves out the groups that the root's /etc/group gives the user, when none was asked for, and that the user
// namespace has not: an ordinary user without subordinate ids has one.
func (p *Process) mappedGroups(u *namespace.User, gids []IDMapping) {
	if len(gids) == 0 || len(p.Groups) > 0 {
		return
	}
	u.Groups = slices.DeleteFunc(u.Groups, func(g uint32) bool {
		_, ok := namespace.HostID(gids, g)
		return !ok && g != u.GID
	})
}

// own gives the pipes to the process's user, so that it can open /dev/stdout and its like again.
func (p *Process) own(l *namespace.Launch) error {
	c := p.in
	var uids, gids []IDMapping
	if c != nil {
		uids, gids = c.uids, c.gids
	} else {
		uids, gids = l.UIDMappings, l.GIDMappings
	}
	if join := l.Namespaces.User.Join; len(uids) == 0 && join != nil && len(p.io.pipes) > 0 {
		// Where nobody is in the namespace, nobody can tell what ids the user has.
		if u, g, err := namespace.JoinedMappings(join); err == nil {
			uids, gids = u, g
		}
	}
	uid, gid := l.User.UID, l.User.GID
	switch {
	case len(uids) > 0 && !namespace.Privileged():
		l.Own = p.io.pipes
		return nil
	case len(uids) > 0:
		var ok, ok2 bool
		uid, ok = namespace.HostID(uids, uid)
		gid, ok2 = namespace.HostID(gids, gid)
		if !ok || !ok2 {
			return nil // the start says so
		}
	case uid == 0 && gid == 0:
		return nil
	}
	for _, f := range p.io.pipes {
		if err := f.Chown(int(uid), int(gid)); err != nil {
			return &StartError{Step: "fchown", Path: f.Name(), Err: err}
		}
	}
	return nil
}

// joinIf is the container's own namespace, or the host's.
func joinIf(join namespace.Namespace, own bool) namespace.Namespace {
	if own {
		return join
	}
	return namespace.Namespace{}
}

// withoutGroup says whether the container does without the control group that could not be made: nothing in it takes one,
// and the host program is one that the machine gives none: an ordinary user's, or one in a user namespace, where no device node can
// be made that a group would keep from the container.
func (c *Container) withoutGroup(err error) bool {
	return errors.Is(err, fs.ErrPermission) && (!namespace.Privileged() || !namespace.FirstUserNamespace()) && c.limitAsked() == "" &&
		c.Cgroup == "" && c.Scope == nil && isNew(c.Namespaces.PID)
}

// undelegated says what an ordinary user lacks who may not make a control group.
func (c *Container) undelegated(err error) error {
	var start *StartError
	if !errors.Is(err, fs.ErrPermission) || namespace.Privileged() || !errors.As(err, &start) {
		return err
	}
	field := c.limitAsked()
	if field == "" {
		field = "Cgroup"
	}
	return &StartError{Step: start.Step, Path: start.Path, Err: fmt.Errorf("%s takes a control group that is delegated to user %d: "+
		"start the program by systemd-run --user --scope -p Delegate=yes, on cgroup v2: %w", field, os.Geteuid(), start.Err)}
}
