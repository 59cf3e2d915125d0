package namespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// openSync makes the socket by which the host program and the stub talk while the user namespace is made.
func (s *starter) openSync() error {
	if err := kernel.MountSetattr.Err(); err != nil {
		return &StartError{Step: "check", Path: "user namespace", Err: err}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &StartError{Step: "socketpair", Path: "user namespace", Err: err}
	}
	s.syncFD = pair[1]
	s.owned = append(s.owned, pair[1])
	_ = unix.SetNonblock(pair[0], true)
	s.sync = os.NewFile(uintptr(pair[0]), "user namespace")
	return nil
}

// userNamespace does the host program's part: it writes the maps when the stub asks for them, and takes over the process
// that goes on in the stub's place, if another one does. Without a process everything is undone; with one and an error
// that is still to be ended.
func (s *starter) userNamespace(ctx context.Context, stub *Process) (*Process, error) {
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = s.sync.SetDeadline(past) })
	defer stop()
	if s.l.userMode().clone {
		// If somebody kills the stub, the process that it has made still holds the socket's other end.
		ended := make(chan struct{})
		go func() {
			stub.untilEnd()
			_ = s.sync.SetReadDeadline(past)
			close(ended)
		}()
		defer func() { <-ended }()
	}
	proc, err := s.answer(stub)
	if err == nil {
		return proc, nil
	}
	switch {
	case errors.Is(err, io.EOF) && ctx.Err() == nil: // the stub's report says why
		stub.untilEnd()
		endGroup(stub)
		var ready bool
		if ready, err = s.result(ctx); err == nil && !ready {
			err = s.died(stub)
		}
		if err == nil {
			err = &StartError{Step: "wait", Path: "user namespace", Err: io.ErrUnexpectedEOF}
		}
	case ctx.Err() != nil:
		err = &StartError{Step: "start", Err: ctx.Err()}
	}
	endGroup(stub) // again, maybe
	return nil, err
}

// answer answers the stub's messages until there is nothing more to say.
func (s *starter) answer(stub *Process) (*Process, error) {
	for {
		fd, err := s.receive()
		if err != nil {
			return nil, err
		}
		proc := stub
		if fd < 0 {
			err = s.setUp(stub)
		} else if proc, err = s.takeOver(stub, fd); err != nil {
			return nil, err
		}
		if err != nil {
			return nil, err
		}
		if _, err := s.sync.Write([]byte{1}); err != nil && proc == stub {
			return nil, io.EOF
		} // the new process's end shows itself in its report
		if fd >= 0 || !s.l.userMode().clone {
			return proc, nil
		}
	}
}

// receive waits for a message, which may bring a descriptor.
func (s *starter) receive() (fd int, err error) {
	conn, err := s.sync.SyscallConn()
	if err != nil {
		return -1, err
	}
	var b [8]byte
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	var failed error
	try := func(fd uintptr) bool {
		n, oobn, _, _, failed = unix.Recvmsg(int(fd), b[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return failed != unix.EAGAIN && failed != unix.EINTR
	}
	if err = conn.Read(try); errors.Is(err, os.ErrDeadlineExceeded) {
		// The stub has ended; what it sent before is still there.
		if err = conn.Control(func(fd uintptr) { _ = try(fd) }); err == nil && failed == unix.EAGAIN {
			return -1, io.EOF
		}
	}
	if err == nil {
		err = failed
	}
	switch {
	case errors.Is(err, unix.ECONNRESET):
		return -1, io.EOF
	case err != nil:
		return -1, &StartError{Step: "recvmsg", Path: "user namespace", Err: err}
	case n == 0:
		return -1, io.EOF
	case oobn == 0:
		return -1, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return -1, &StartError{Step: "recvmsg", Path: "user namespace", Err: unix.EBADMSG}
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, &StartError{Step: "recvmsg", Path: "user namespace", Err: unix.EBADMSG}
	}
	return fds[0], nil
}

// setUp writes the stub's maps, and maps the mounts by them.
func (s *starter) setUp(stub *Process) error {
	dir, err := unix.Open("/proc/"+strconv.Itoa(stub.Pid()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &StartError{Step: "open", Path: "/proc of the new process", Err: err}
	}
	defer unix.Close(dir)
	// If it lives now, the folder is its own, and not that of another process that got its number.
	if err := stub.Signal(0); err != nil {
		return io.EOF
	}
	if err := writeMaps(dir, stub.Pid(), s.l.UIDMappings, s.l.GIDMappings); err != nil {
		return err
	}
	if len(s.idmapped) == 0 {
		return nil
	}
	ns, err := unix.Openat(dir, "ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &StartError{Step: "open", Path: "user namespace", Err: err}
	}
	defer unix.Close(ns)
	i := 0
	for _, m := range s.p.idmaps {
		if len(m.ids.UIDs) > 0 {
			continue
		}
		if err := m.set(s.idmapped[i], ns); err != nil {
			return &StartError{Step: "mount_setattr", Path: s.p.files[m.file].text, Err: s.l.mountError(s.p.files[m.file].mount, "mount_setattr", err)}
		}
		i++
	}
	return nil
}

// takeOver makes a Process of the one that the stub sends, and reaps the stub.
func (s *starter) takeOver(stub *Process, pidfd int) (*Process, error) {
	proc := newProcess(0, pidfd)
	var err error
	if proc.pid, err = pidOf(proc.pidfd); err != nil {
		end(proc)
		return nil, &StartError{Step: "read", Path: "fdinfo", Err: err}
	}
	state, err := stub.Wait(context.Background())
	switch {
	case errors.Is(err, unix.ECHILD): // another part of the program reaped it
	case err != nil:
		err = &StartError{Step: "wait", Path: "user namespace", Err: err}
	case state.Code != 0:
		err = io.EOF // it failed, and has said why
	}
	if err != nil && !errors.Is(err, unix.ECHILD) {
		end(proc)
		return nil, err
	}
	_ = stub.Close()
	return proc, nil
}

// end kills a process and reaps it.
func end(p *Process) {
	_ = p.Signal(syscall.SIGKILL)
	_, _ = p.Wait(context.Background())
	_ = p.Close()
}

// untilEnd waits until the process has ended, and does not reap it.
func (p *Process) untilEnd() {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		state, err := reap(int(fd), unix.WNOWAIT)
		return state != nil || err != nil
	})
}

// endGroup ends the stub and what it may have made that we do not know of: a child of ours in the stub's process group,
// of which the stub itself, not reaped until then, keeps the number.
func endGroup(stub *Process) {
	defer stub.Close()
	if stub.state != nil { // it was reaped, and its number may be another's
		return
	}
	_ = stub.Signal(syscall.SIGKILL)
	stub.untilEnd()
	_ = withDescriptor(stub.pidfd, func(fd int) error {
		stub.state, stub.err = reap(fd, unix.WNOWAIT)
		return nil
	})
	_ = unix.Kill(-stub.pid, unix.SIGKILL)
	for {
		pid, err := unix.Wait4(-stub.pid, nil, unix.WALL, nil)
		if err != unix.EINTR && (err != nil || pid <= 0) {
			break
		}
	}
	// It may have ended before it had a group.
	_ = withDescriptor(stub.pidfd, func(fd int) error {
		_, err := reap(fd, 0)
		return err
	})
}

// writeMaps writes the maps of a user namespace that the process pid, of which dir is the folder in /proc, has made.
func writeMaps(dir, pid int, uids, gids []IDMapping) error {
	direct := unix.Geteuid() == 0
	own := func(maps []IDMapping, id int) bool {
		return len(maps) == 1 && maps[0].Size == 1 && int(maps[0].HostID) == id
	}
	if direct || own(uids, unix.Geteuid()) {
		if err := writeAt(dir, "uid_map", mapText(uids)); err != nil {
			return &StartError{Step: "write", Path: "UIDMappings", Err: err}
		}
	} else if err := newIDMap("newuidmap", "UIDMappings", pid, uids); err != nil {
		return err
	}
	if !direct && own(gids, unix.Getegid()) {
		// Whoever could leave a group would get round a permission that denies it.
		if err := writeAt(dir, "setgroups", "deny"); err != nil {
			return &StartError{Step: "write", Path: "setgroups", Err: err}
		}
		direct = true
	}
	if direct {
		if err := writeAt(dir, "gid_map", mapText(gids)); err != nil {
			return &StartError{Step: "write", Path: "GIDMappings", Err: err}
		}
		return nil
	}
	return newIDMap("newgidmap", "GIDMappings", pid, gids)
}

func writeAt(dir int, name, text string) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	return errors.Join(err, unix.Close(fd))
}

// newIDMap has the map written by a command of the package uidmap, which may what /etc/subuid and /etc/subgid grant.
func newIDMap(command, field string, pid int, maps []IDMapping) error {
	args := []string{strconv.Itoa(pid)}
	for _, m := range maps {
		args = append(args, strings.Fields(m.String())...)
	}
	out, err := exec.Command(command, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return &StartError{Step: command, Path: field, Err: err}
}

// idmap makes a mount of the files show other owners.
func (c *compiler) idmap(fd arg, ids *IDMap, recursive bool) {
	if ids != nil {
		c.idmaps = append(c.idmaps, idmount{int(fd.v), ids, recursive})
	}
}

// idmapFiles maps the mounts that have a map of their own, and keeps those that get the process's.
func (s *starter) idmapFiles() error {
	for _, m := range s.p.idmaps {
		fd, fail := int(s.fds[m.file]), func(err error) error {
			return &StartError{Step: "mount_setattr", Path: s.p.files[m.file].text, Err: s.l.mountError(s.p.files[m.file].mount, "mount_setattr", err)}
		}
		if err := kernel.MountSetattr.Err(); err != nil {
			return fail(err)
		}
		if len(m.ids.UIDs) == 0 {
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				return fail(err)
			}
			s.idmapped = append(s.idmapped, own)
			continue
		}
		ns, err := NewUserNamespace(m.ids.UIDs, m.ids.GIDs)
		if err != nil {
			return err
		}
		err = m.set(fd, int(ns.Fd()))
		_ = ns.Close()
		if err != nil {
			return fail(err)
		}
	}
	return nil
}

// set has the mount show its files' owners by the map of a user namespace.
func (m *idmount) set(fd, ns int) error {
	err := idmapMount(fd, ns, m.recursive)
	if m.ids.IfPossible && errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

func idmapMount(fd, ns int, recursive bool) error {
	fl := uint(unix.AT_EMPTY_PATH)
	if recursive {
		fl |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(fd, "", fl, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)})
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the file system cannot show other owners, or not on this kernel (ext4, xfs Linux ≥ 5.12, btrfs "+
			"5.15, overlay's layers 5.19, tmpfs 6.3): %w", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the mount shows other owners already, or the program is not root: %w", err)
	}
	return err
}

// NewUserNamespace makes a user namespace with these maps that no process is in. The file, which the caller closes, keeps
// it: for [IDMap]s, and for [Namespaces].User. It takes root.
func NewUserNamespace(uids, gids []IDMapping) (*os.File, error) {
	host := Namespace{Host: true}
	l := &Launch{
		Args: []string{"true"}, UIDMappings: uids, GIDMappings: gids,
		Namespaces: Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host},
	}
	if err := checkMappings(uids); err != nil {
		return nil, &StartError{Step: "check", Path: "UIDs", Err: err}
	}
	if err := checkMappings(gids); err != nil {
		return nil, &StartError{Step: "check", Path: "GIDs", Err: err}
	}
	// The program ends where it would get its maps written: what is left of it is its namespace.
	p := &Program{}
	report := p.file("report", nil)
	sync := p.file("user namespace's maps", nil)
	p.inline, p.sync = int(report.v), int(sync.v)
	c := &compiler{Program: p, l: l, user: userMode{own: true, sync: sync}}
	c.call("setsid", unix.SYS_SETSID)
	c.call("unshare", unix.SYS_UNSHARE, flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
	c.send(c.str("m"), 1)
	c.await("user namespace's maps")
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))

	s := newStarter(l, p)
	defer s.close()
	stub, err := s.begin(s.open)
	if err != nil {
		return nil, err
	}
	defer endGroup(stub)
	if _, err := s.receive(); errors.Is(err, io.EOF) {
		if _, err = s.result(context.Background()); err == nil {
			err = s.died(stub)
		}
		return nil, err
	} else if err != nil {
		return nil, err
	}
	if err := s.setUp(stub); err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", stub.pid))
	if err != nil {
		return nil, &StartError{Step: "open", Path: "user namespace", Err: err}
	}
	return f, nil
}
