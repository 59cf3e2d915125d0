package namespace

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// OpenNetwork opens what a program needs to be a network namespace's network: the device of tun(7), which is of that namespace from
// then on, and a socket of rtnetlink(7) in it. user is the user namespace that owns the network namespace, or nil if it is the
// program's own. A process enters them, since a program of several threads cannot enter a user namespace, and has ended when
// OpenNetwork returns. ctx bounds it. The error is a *[StartError].
func OpenNetwork(ctx context.Context, user, network *os.File) (tun, rtnetlink *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &StartError{Step: "socketpair", Path: "network", Err: err}
	}
	ours := pair[0]
	defer unix.Close(ours)
	theirs := os.NewFile(uintptr(pair[1]), "network")
	defer theirs.Close()

	host := Namespace{Host: true}
	l := &Launch{Namespaces: Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host}}
	p := newProgram()
	c := &compiler{Program: p, l: l, report: p.file("report", nil)}
	p.inline = int(c.report.v)
	sock := p.file("network", useFile(theirs))
	net := p.file("network namespace", useFile(network))
	if user != nil {
		c.call("setns", unix.SYS_SETNS, p.file("user namespace", useFile(user)), flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
	}
	c.call("setns", unix.SYS_SETNS, net, flags(unix.CLONE_NEWNET, cloneNames)).about("network namespace")
	fd := c.variable("fd", 8)
	c.openat(num(atCWD), "/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK).to(fd)
	c.sendDescriptor(sock, fd)
	c.call("socket", unix.SYS_SOCKET, num(unix.AF_NETLINK), num(unix.SOCK_RAW|unix.SOCK_CLOEXEC), num(unix.NETLINK_ROUTE)).to(fd).about("rtnetlink")
	c.sendDescriptor(sock, fd)
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))

	s := &starter{l: l, p: p, comm: -1, reportFD: -1, ttyFD: -1, syncFD: -1}
	defer s.close()
	if err := s.open(); err != nil {
		return nil, nil, err
	}
	pid, pidfd, err := s.spawn()
	if err != nil {
		return nil, nil, err
	}
	proc := newProcess(pid, pidfd)
	s.closeChildSide()
	_, err = s.result(ctx)
	proc.discard()
	if err != nil {
		return nil, nil, err
	}
	if tun, err = takeFile(ours, "tun"); err != nil {
		return nil, nil, err
	}
	if rtnetlink, err = takeFile(ours, "rtnetlink"); err != nil {
		_ = tun.Close()
		return nil, nil, err
	}
	return tun, rtnetlink, nil
}

// handNetwork sends the namespaces that a program needs to be the network's other side.
func (c *compiler) handNetwork() {
	if c.l.NetworkTo == nil {
		return
	}
	sock, fd := c.file("network", useFile(c.l.NetworkTo)), c.variable("namespace", 8)
	for _, name := range []string{"net", "user"} {
		c.openat(num(atCWD), "/proc/self/ns/"+name, unix.O_RDONLY).to(fd)
		c.sendDescriptor(sock, fd)
		c.close(fd)
	}
	c.close(sock)
}

// HandsNetwork tells whether NetworkTo is needed to get at the process's network namespace: whether that is new, and of a user
// namespace of an ordinary user's.
func (l *Launch) HandsNetwork() bool {
	m := l.userMode()
	return m.own && m.rootless && l.Namespaces.Network.isNew()
}

// ReceiveFile takes a descriptor that was sent to a stream socket with a byte, and waits for it. The error is io.EOF if the
// other side is closed.
func ReceiveFile(sock *os.File, name string) (f *os.File, err error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return nil, err
	}
	e := raw.Read(func(fd uintptr) bool {
		f, err = takeFile(int(fd), name)
		return !errors.Is(err, unix.EAGAIN)
	})
	if e != nil {
		return nil, e
	}
	return f, err
}

// takeFile takes a descriptor that is in the socket.
func takeFile(sock int, name string) (*os.File, error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	got, n, _, _, err := unix.Recvmsg(sock, b[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, &StartError{Step: "recvmsg", Path: name, Err: err}
	}
	if got == 0 {
		return nil, io.EOF
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return nil, &StartError{Step: "recvmsg", Path: name, Err: unix.EBADMSG}
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, &StartError{Step: "recvmsg", Path: name, Err: unix.EBADMSG}
	}
	return os.NewFile(uintptr(fds[0]), name), nil
}
