package layer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// inUserNamespace tells the root of the user namespace that it was mounted in.
func (v *overlay) inUserNamespace(root *namespace.Root) error {
	if v.user == nil {
		return nil
	}
	d, err := v.user.helper()
	if err != nil {
		return errors.Join(err, root.Close())
	}
	fd, err := unix.FcntlInt(d.User().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return errors.Join(err, root.Close())
	}
	uids, gids := d.Mappings()
	root.SetUserNamespace(os.NewFile(uintptr(fd), "user namespace"), uids, gids)
	return nil
}

// A userMount makes an overlay in a user namespace, by its deputy.
type userMount struct {
	*overlay
	d *namespace.Deputy
}

// mountByDeputy returns a descriptor of the overlay, which is detached: it belongs to the user namespace.
func (v *overlay) mountByDeputy() (int, error) {
	d, err := v.user.helper()
	if err != nil {
		return -1, err
	}
	m := &userMount{v, d}
	appends, err := m.appendsLower()
	if err != nil {
		return -1, err
	}
	var f *os.File
	if appends && !oldMount {
		f, err = m.create()
	} else {
		f, err = m.mountOld()
	}
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

const (
	setFlag   = 0 // FSCONFIG_SET_FLAG
	setString = 1 // FSCONFIG_SET_STRING
	cmdCreate = 6 // FSCONFIG_CMD_CREATE
)

func (m *userMount) fsopen(typ string) (int, error) {
	fs, err := m.d.Call(unix.SYS_FSOPEN, typ, unix.FSOPEN_CLOEXEC)
	switch {
	case errors.Is(err, unix.ENODEV):
		return -1, fmt.Errorf("%sfs is not in this kernel: %w: %w", typ, err, errors.ErrUnsupported)
	case err != nil:
		return -1, fmt.Errorf("fsopen %s: %w", typ, err)
	}
	return fs, nil
}

func (m *userMount) close(fd int) { _, _ = m.d.Call(unix.SYS_CLOSE, fd) }

// appendsLower is the function of the same name.
func (m *userMount) appendsLower() (bool, error) {
	fs, err := m.fsopen("overlay")
	if err != nil {
		return false, err
	}
	defer m.close(fs)
	_, err = m.d.Call(unix.SYS_FSCONFIG, fs, setString, "lowerdir+", "/", 0)
	_, any := m.d.Call(unix.SYS_FSCONFIG, fs, setFlag, "no-such-option", 0, 0)
	return err == nil && any != nil, nil
}

// create is the way of Linux 6.8.
func (m *userMount) create() (*os.File, error) {
	fs, err := m.fsopen("overlay")
	if err != nil {
		return nil, err
	}
	defer m.close(fs)
	set := func(key, value string) error {
		if _, err := m.d.Call(unix.SYS_FSCONFIG, fs, setString, key, value, 0); err != nil {
			return fmt.Errorf("overlay option %s=%s: %w%s", key, value, err, m.log(fs))
		}
		return nil
	}
	options := append([][2]string{{"source", "overlay"}}, overlayOptions...)
	for _, o := range options {
		if err := set(o[0], o[1]); err != nil {
			return nil, err
		}
	}
	dirs := make([][2]string, 0, len(m.lower)+2)
	for _, d := range m.lower {
		dirs = append(dirs, [2]string{"lowerdir+", d})
	}
	if m.upper != "" {
		dirs = append(dirs, [2]string{"upperdir", m.upper}, [2]string{"workdir", m.work})
	}
	for _, d := range dirs {
		if err := m.folder(d[0], d[1], set); err != nil {
			return nil, err
		}
	}
	flags := []string{"userxattr"}
	if m.volatile {
		flags = append(flags, "volatile")
	}
	for _, name := range flags {
		if _, err := m.d.Call(unix.SYS_FSCONFIG, fs, setFlag, name, 0, 0); err != nil {
			return nil, fmt.Errorf("overlay option %s: %w%s", name, err, m.log(fs))
		}
	}
	if _, err := m.d.Call(unix.SYS_FSCONFIG, fs, cmdCreate, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("make overlay: %w%s", err, m.log(fs))
	}
	attr := 0
	if m.readOnly {
		attr = unix.MOUNT_ATTR_RDONLY
	}
	f, err := m.d.Open("overlay", unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return nil, fmt.Errorf("fsmount overlay: %w%s", err, m.log(fs))
	}
	return f, nil
}

// folder is setFolder.
func (m *userMount) folder(key, path string, set func(key, value string) error) error {
	if len(path) <= 255 && !strings.ContainsAny(path, `\,:`) {
		return set(key, path)
	}
	fd, err := m.d.Call(unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer m.close(fd)
	if err := set(key, "/proc/self/fd/"+strconv.Itoa(fd)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// log is fsLog.
func (m *userMount) log(fs int) string {
	var b strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := m.d.Call(unix.SYS_READ, fs, buf, len(buf))
		if err != nil || n <= 0 || b.Len() > len(buf) {
			return b.String()
		}
		b.WriteString(": " + strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "e ")))
	}
}

// mountOld is the way of older kernels, from 5.11 on: by mount(2) in the deputy's mount namespace, with short names.
func (m *userMount) mountOld() (_ *os.File, err error) {
	fs, err := m.fsopen("tmpfs")
	if err != nil {
		return nil, err
	}
	defer m.close(fs)
	call := func(what string, nr int, args ...any) (n int) {
		if err == nil {
			if n, err = m.d.Call(nr, args...); err != nil {
				err = fmt.Errorf("%s: %w", what, err)
			}
		}
		return n
	}
	call("make tmpfs", unix.SYS_FSCONFIG, fs, cmdCreate, 0, 0, 0)
	tmp := call("fsmount tmpfs", unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, 0)
	if err == nil {
		defer m.close(tmp)
	}
	call("attach tmpfs", unix.SYS_MOVE_MOUNT, tmp, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH)
	call("enter tmpfs", unix.SYS_FCHDIR, tmp)
	call("make folder", unix.SYS_MKDIRAT, tmp, "merged", 0o700)
	link := func(i int, dir string) string {
		name := strconv.FormatInt(int64(i), 36)
		call("link "+dir, unix.SYS_SYMLINKAT, dir, tmp, name)
		return name
	}
	names := make([]string, len(m.lower))
	for i, d := range m.lower {
		names[i] = link(i, d)
	}
	options := "lowerdir=" + strings.Join(names, ":") + ",userxattr"
	for _, o := range overlayOptions {
		options += "," + o[0] + "=" + o[1]
	}
	if m.upper != "" {
		options += ",upperdir=" + link(len(names), m.upper) + ",workdir=" + link(len(names)+1, m.work)
	}
	if m.volatile {
		options += ",volatile"
	}
	flags := 0
	if m.readOnly {
		flags = unix.MS_RDONLY
	}
	call("mount overlay", unix.SYS_MOUNT, "overlay", "merged", "overlay", flags, options)
	if err != nil {
		return nil, err
	}
	f, err := m.d.Open("overlay", unix.SYS_OPEN_TREE, unix.AT_FDCWD, "merged", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone overlay: %w", err)
	}
	return f, nil
}
