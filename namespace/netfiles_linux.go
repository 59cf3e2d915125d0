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
	files, err := openInNetwork(ctx, user, network, []string{"tun", "rtnetlink"}, func(c *compiler, fd arg, send func()) {
		c.openat(num(atCWD), "/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK).to(fd)
		send()
		c.socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE).to(fd).about("rtnetlink")
		send()
	})
	if err != nil {
		return nil, nil, err
	}
	return files[0], files[1], nil
}

// OpenSocket opens a socket in a network namespace, as OpenNetwork does: of a domain and a type of socket(2), which is neither bound nor
// connected. It does not block.
func OpenSocket(ctx context.Context, user, network *os.File, domain, kind int) (*os.File, error) {
	files, err := openInNetwork(ctx, user, network, []string{"socket"}, func(c *compiler, fd arg, send func()) {
		c.socket(domain, kind|unix.SOCK_NONBLOCK, 0).to(fd)
		send()
	})
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

func (c *compiler) socket(domain, kind, protocol int) *step {
	return c.call("socket", unix.SYS_SOCKET, num(domain), num(kind|unix.SOCK_CLOEXEC), num(protocol))
}

// openInNetwork has a process in the namespaces open files and send them, by the program that open writes.
func openInNetwork(ctx context.Context, user, network *os.File, names []string, open func(c *compiler, fd arg, send func()),
) (files []*os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &StartError{Step: "socketpair", Path: "network", Err: err}
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
		c.notDumpable() // there may be processes in it
		c.call("setns", unix.SYS_SETNS, p.file("user namespace", useFile(user)), flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
	}
	c.call("setns", unix.SYS_SETNS, net, flags(unix.CLONE_NEWNET, cloneNames)).about("network namespace")
	fd := c.variable("fd", 8)
	open(c, fd, func() { c.sendDescriptor(sock, fd) })
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))

	s := newStarter(l, p)
	defer s.close()
	proc, err := s.begin(s.open)
	if err != nil {
		return nil, err
	}
	_, err = s.result(ctx)
	proc.discard()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, err := takeFile(ours, name)
		if err != nil {
			closeFiles(files...)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
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
