package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Deputy is a process in a user namespace of its own that makes system calls there for this program: a program of
// several threads cannot enter one. In the namespace an ordinary user may give files to the ids that it has from
// /etc/subuid, change those that belong to such, and mount file systems. The process is a stub of some kilobytes, root of
// the user namespace and in a mount namespace of its own with the host's mounts, and ends with this program.
// It is safe for use by several goroutines: one call is made at a time.
type Deputy struct {
	mu   sync.Mutex
	sock *os.File
	proc *Process
	user *os.File // nil of one that was joined, which a process that is not dumpable shows to root alone
	at   deputyAddresses
	buf  []byte

	uids, gids []IDMapping
}

// deputyAddresses are places in the stub's memory.
type deputyAddresses struct {
	data  uint64 // the buffer of strings and bytes
	files uint64 // the descriptors that came with the call
}

// A request is the words of the call's step (number and six arguments), which arguments are to be loaded, how many bytes
// the answer has and how many of a control message, whether the result is to be closed, and the buffer. The answer is the result, the
// errno and the buffer.
const (
	requestStep = 56
	requestHead = requestStep + 8 + 24
	answerHead  = 16
)

func newDeputy(ctx context.Context, l *Launch) (_ *Deputy, err error) {
	d := &Deputy{uids: l.UIDMappings, gids: l.GIDMappings}
	p := d.program(l)
	s := newStarter(l, p)
	defer s.close()
	proc, err := s.begin(s.open)
	if err != nil {
		return nil, err
	}
	d.proc = proc
	defer func() {
		if err != nil {
			d.proc.discard()
			closeFiles(d.user)
		}
	}()
	defer d.endWith(ctx, s.sync)()
	if err := d.begin(ctx, s); err != nil {
		if ctx.Err() != nil {
			err = &StartError{Step: "start", Path: "user namespace", Err: ctx.Err()}
		}
		return nil, err
	}
	d.sock, s.sync = s.sync, nil
	return d, nil
}

// begin writes the maps, keeps the namespace, and waits until the stub is ready for calls.
func (d *Deputy) begin(ctx context.Context, s *starter) error {
	ended := func(err error) error {
		if !errors.Is(err, io.EOF) {
			return err // or nil
		}
		if _, err = s.result(ctx); err == nil {
			err = s.died(d.proc)
		}
		return err
	}
	if _, err := s.receive(); err != nil || !s.l.userMode().own {
		return ended(err)
	}
	var err error
	if s.l.Namespaces.User.Join == nil {
		if err = s.setUp(d.proc); err == nil {
			if d.user, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", d.proc.Pid())); err != nil {
				err = &StartError{Step: "open", Path: "user namespace", Err: err}
			}
		}
	} else {
		if d.uids, err = readMap(fmt.Sprintf("/proc/%d/uid_map", d.proc.Pid())); err == nil {
			d.gids, err = readMap(fmt.Sprintf("/proc/%d/gid_map", d.proc.Pid()))
		}
		if err != nil {
			err = &StartError{Step: "read", Path: "maps of the user namespace", Err: err}
		}
	}
	if err != nil {
		return ended(err)
	}
	if _, err := s.sync.Write([]byte{1}); err != nil {
		return ended(io.EOF)
	}
	_, err = s.receive()
	return ended(err)
}

// program is what the stub runs: it receives a call into a step of its own and executes that.
func (d *Deputy) program(l *Launch) *Program {
	p := newProgram()
	report := p.file("report", nil)
	sync := p.file("user namespace's maps", nil)
	p.inline, p.sync = int(report.v), int(sync.v)
	c := &compiler{Program: p, l: l, user: userMode{own: true, sync: sync}}
	c.joinCgroups()
	c.call("setsid", unix.SYS_SETSID)
	own := l.userMode().own
	if own {
		c.becomeRoot()
	}
	c.notDumpable()
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_NAME, prctlNames), c.str("caisson-deputy"), num(0), num(0), num(0))
	c.call("umask", unix.SYS_UMASK, octal(0))
	if own {
		c.call("unshare", unix.SYS_UNSHARE, flags(unix.CLONE_NEWNS, cloneNames)).about("mount namespace")
		c.call("mount", unix.SYS_MOUNT, null, c.str("/"), null, flags(unix.MS_REC|unix.MS_PRIVATE, mountNames), null).
			about("/ private")
	}
	// What the host program has let others inherit, and the stub's own file.
	c.call("close_range", unix.SYS_CLOSE_RANGE, num(2), arg{kind: argHex, v: 1<<32 - 1}, num(0))
	c.ignore(anyError)
	c.send(c.str("r"), 1)

	loop, start, failed, reply, next, end := c.label(), c.label(), c.label(), c.label(), c.label(), c.label()
	request, requestIOV, control := c.variable("request", 56), c.variable("parts", 4*16), c.variable("control", 32)
	answer, answerIOV, descriptor := c.variable("answer", 56), c.variable("answer's parts", 2*16), c.variable("descriptor", 24)
	head, buf := c.variable("head", answerHead), c.variable("buffer", maxDeputyData)
	sizes, n := c.variable("sizes", 24), c.variable("n", 8)
	c.jump(start)

	c.place(loop)
	c.op(opSet, num(32)).to(request.at(40))
	c.op(opSet, num(-1)).to(control.at(16))
	c.call("recvmsg", unix.SYS_RECVMSG, sync, request.addr(), num(unix.MSG_CMSG_CLOEXEC)).to(n).
		orElse(loop, errnoSet(int(unix.EINTR)))
	c.if0(n, end)
	c.op(opSet, num(0)).to(head.at(8))
	call := len(p.steps)
	c.op(opSet, null, null, null, null, null, null).to(head).goTo(reply).orElse(failed, anyError)
	c.place(failed)
	c.op(opSet, arg{kind: argErrno}).to(head.at(8))
	c.op(opSet, num(0)).to(sizes.at(8))
	c.op(opSet, num(0)).to(sizes.at(16))
	c.place(reply)
	c.op(opSet, sizes).to(answerIOV.at(24))
	c.op(opSet, sizes.at(8)).to(answer.at(40))
	c.op(opSet, head).to(descriptor.at(16))
	c.call("sendmsg", unix.SYS_SENDMSG, sync, answer.addr(), num(unix.MSG_NOSIGNAL)).orElse(end, anyError)
	for _, at := range []int{16, 20} { // the second one's word goes on with a zero, or with nothing at all
		c.call("close", unix.SYS_CLOSE, control.at(at))
		c.ignore(anyError)
	}
	c.if0(sizes.at(16), next)
	c.call("close", unix.SYS_CLOSE, head)
	c.ignore(anyError)
	c.place(next)
	c.jump(loop)

	c.place(start)
	word := func(v uint64) arg { return arg{kind: argHex, v: v} }
	step := p.stepsAddr() + uint64(call*stepSize)
	for i, part := range []struct {
		addr arg
		size int
	}{{word(step), requestStep}, {word(step + 80), 8}, {sizes.addr(), 24}, {buf.addr(), maxDeputyData}} {
		c.op(opSet, part.addr).to(requestIOV.at(16 * i))
		c.op(opSet, num(part.size)).to(requestIOV.at(16*i + 8))
	}
	c.op(opSet, requestIOV.addr()).to(request.at(16))
	c.op(opSet, num(4)).to(request.at(24))
	c.op(opSet, control.addr()).to(request.at(32))
	c.op(opSet, head.addr()).to(answerIOV)
	c.op(opSet, num(answerHead)).to(answerIOV.at(8))
	c.op(opSet, buf.addr()).to(answerIOV.at(16))
	c.op(opSet, answerIOV.addr()).to(answer.at(16))
	c.op(opSet, num(2)).to(answer.at(24))
	c.op(opSet, descriptor.addr()).to(answer.at(32))
	c.op(opSet, num(unix.CmsgLen(4))).to(descriptor)
	c.op(opSet, word(unix.SOL_SOCKET|unix.SCM_RIGHTS<<32)).to(descriptor.at(8))
	c.jump(loop)
	c.place(end)
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))

	d.at = deputyAddresses{data: p.address(buf), files: p.address(control) + 16}
	return p
}

// Call makes a system call in the user namespace. The arguments are numbers, strings, byte slices, which the kernel may
// write to, and files or [Descriptor]s of this program, at most two; all else is an error. The result may be the number of a descriptor in the
// deputy. The error is a syscall.Errno, or [ErrDeputyEnded].
func (d *Deputy) Call(nr int, args ...any) (int, error) {
	n, _, err := d.call(nr, false, args)
	return n, err
}

// Open is Call for a system call that returns a descriptor, which becomes this program's. The caller closes it.
func (d *Deputy) Open(name string, nr int, args ...any) (*os.File, error) {
	_, fd, err := d.call(nr, true, args)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// User is the user namespace. It is the Deputy's, which closes it.
func (d *Deputy) User() *os.File { return d.user }

// Mappings returns the maps of the user namespace.
func (d *Deputy) Mappings() (uids, gids []IDMapping) { return d.uids, d.gids }

// Close ends the process. A second Close does nothing.
func (d *Deputy) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sock == nil {
		return nil
	}
	err := d.sock.Close()
	closeFiles(d.user)
	d.sock = nil
	d.end()
	return errors.Join(err, d.proc.Close())
}

func (d *Deputy) call(nr int, opens bool, args []any) (result, fd int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sock == nil {
		return -1, -1, ErrDeputyEnded
	}
	var files []int
	var back []deputyBuffer
	ne := binary.NativeEndian
	if cap(d.buf) < requestHead {
		d.buf = make([]byte, requestHead, 4096)
	}
	b := d.buf[:requestHead]
	clear(b)
	ne.PutUint64(b, uint64(nr))
	if len(args) > 6 {
		return -1, -1, unix.EINVAL
	}
	var load uint64
	for i, a := range args {
		var v uint64
		at := len(b) - requestHead
		switch a := a.(type) {
		case int:
			v = uint64(a)
		case uint32:
			v = uint64(a)
		case uint64:
			v = a
		case string:
			v = d.at.data + uint64(at)
			b = append(append(b, a...), 0)
		case []byte:
			v = d.at.data + uint64(at)
			b = append(b, a...)
			back = append(back, deputyBuffer{a, at})
		case *os.File:
			own, err := duplicate(a)
			if err != nil {
				return -1, -1, err
			}
			defer unix.Close(own)
			load |= 1 << i
			v = d.at.files + uint64(4*len(files))
			files = append(files, own)
		case Descriptor:
			load |= 1 << i
			v = d.at.files + uint64(4*len(files))
			files = append(files, int(a))
		default:
			return -1, -1, unix.EINVAL
		}
		if len(files) > 2 {
			return -1, -1, unix.EINVAL
		}
		ne.PutUint64(b[8+8*i:], v)
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
	}
	d.buf = b[:0]
	if len(b)-requestHead > maxDeputyData {
		return -1, -1, unix.E2BIG
	}
	ne.PutUint64(b[requestStep:], load)
	size := 0
	if len(back) > 0 {
		size = len(b) - requestHead
	}
	ne.PutUint64(b[requestStep+8:], uint64(size))
	if opens {
		ne.PutUint64(b[requestStep+16:], uint64(unix.CmsgSpace(4)))
		ne.PutUint64(b[requestStep+24:], 1)
	}
	return d.exchange(b, files, back)
}

// A deputyBuffer is an argument that the call may have written to, and its place in the buffer.
type deputyBuffer struct {
	b  []byte
	at int
}

// exchange sends a request and takes the answer.
func (d *Deputy) exchange(b []byte, files []int, back []deputyBuffer) (result, fd int, err error) {
	conn, err := d.sock.SyscallConn()
	if err != nil {
		return -1, -1, ErrDeputyEnded
	}
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	var failed error
	err = conn.Write(func(s uintptr) bool {
		failed = unix.Sendmsg(int(s), b, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		return failed != unix.EAGAIN && failed != unix.EINTR
	})
	if err != nil || failed != nil {
		return -1, -1, ErrDeputyEnded
	}
	answer, oob := make([]byte, answerHead+len(b)), make([]byte, unix.CmsgSpace(4))
	n, oobn := 0, 0
	err = conn.Read(func(s uintptr) bool {
		n, oobn, _, _, failed = unix.Recvmsg(int(s), answer, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return failed != unix.EAGAIN && failed != unix.EINTR
	})
	if err != nil || failed != nil || n < answerHead {
		return -1, -1, ErrDeputyEnded
	}
	ne := binary.NativeEndian
	if e := ne.Uint64(answer[8:]); e != 0 {
		return -1, -1, syscall.Errno(e)
	}
	for _, x := range back {
		copy(x.b, answer[answerHead+x.at:n])
	}
	fd = -1
	if oobn > 0 {
		if fd, err = oneRight(oob[:oobn]); err != nil {
			return -1, -1, err
		}
	}
	return int(int64(ne.Uint64(answer))), fd, nil
}

// oneRight is the descriptor of a control message that has one.
func oneRight(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return -1, unix.EBADMSG
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, unix.EBADMSG
	}
	return fds[0], nil
}

// openByDeputy opens a folder inside a root that belongs to one of the user's subordinate ids, and is closed to others.
func openByDeputy(root *os.File, name string) (*os.File, error) {
	fail := func(err error) (*os.File, error) {
		return nil, fmt.Errorf("open %s in %s: %w", name, root.Name(), err)
	}
	d, err := NewDeputy(context.Background(), nil, nil)
	if err != nil {
		return fail(err)
	}
	defer d.Close()
	how := unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	b := make([]byte, 0, unix.SizeofOpenHow)
	for _, v := range []uint64{how.Flags, how.Mode, how.Resolve} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	f, err := d.Open(name, unix.SYS_OPENAT2, root, name, b, len(b))
	if err != nil {
		return fail(err)
	}
	return f, nil
}

// mkdirByDeputy makes a folder in one that belongs to one of the user's subordinate ids.
func mkdirByDeputy(dir *os.File, name string, perm uint32) error {
	d, err := NewDeputy(context.Background(), nil, nil)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = d.Call(unix.SYS_MKDIRAT, dir, name, perm)
	return err
}
