package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A transaction is the messages of one change of nftables, as they are sent. The library encodes them, but has each one answered: to read
// that takes longer than the change. Here only the last one is, and those that the kernel refuses.
type transaction []byte

// encode returns what the calls that build makes add up to.
func encode(build func(*nftables.Conn) error) (transaction, error) {
	var all []netlink.Message
	conn, err := nftables.New(nftables.WithTestDial(func(messages []netlink.Message) ([]netlink.Message, error) {
		all = append(all, messages...)
		return nil, os.ErrPermission // the one error after which it waits for no other answers
	}))
	if err == nil {
		err = build(conn)
	}
	if err == nil {
		err = conn.Flush()
	}
	if len(all) == 0 {
		return nil, err
	}
	var t transaction
	for i, m := range all {
		m.Header.Flags &^= netlink.Acknowledge | netlink.Echo
		if i == len(all)-2 { // the end of the batch follows
			m.Header.Flags |= netlink.Acknowledge
		}
		m.Header.Sequence, m.Header.PID = uint32(i), 0
		b, err := m.MarshalBinary()
		if err != nil {
			return nil, err
		}
		t = append(t, b...)
	}
	return t, nil
}

// openNetfilter opens a socket for transactions in the calling thread's network namespace.
func openNetfilter() (fd int, err error) {
	if fd, err = openNetlink(unix.NETLINK_NETFILTER); err != nil {
		return -1, fmt.Errorf("open nfnetlink: %w", explain(err, "nf_tables"))
	}
	return fd, nil
}

func openNetlink(family int) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// An answer need not repeat what it answers.
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		return -1, errors.Join(os.NewSyscallError("setsockopt", err), unix.Close(fd))
	}
	return fd, nil
}

// commit has the kernel do all of it, or nothing: then the errors are those of all messages that it refused.
func (t transaction) commit(fd int) error {
	if len(t) == 0 {
		return nil
	}
	// The kernel takes no message that is larger than the buffer: half of what is asked for is for its own use.
	if have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil && have < 2*len(t) {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*len(t)) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*len(t))
		}
	}
	if err := unix.Sendto(fd, t, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	err := t.await(fd)
	if err != nil { // there may be more answers, which must not be taken for those to the next one
		for b := make([]byte, 4096); ; {
			if _, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT); err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOBUFS) {
				break
			}
		}
	}
	return err
}

// await reads the answers, all of which are there by now, until the last one.
func (t transaction) await(fd int) (refused error) {
	last := t.last()
	b := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return errors.Join(refused, os.NewSyscallError("recvfrom", err))
		}
		done, err := answers(b[:n], last)
		refused = errors.Join(refused, err)
		if done {
			return refused
		}
	}
}

// last is the number of the message that is answered in any case.
func (t transaction) last() uint32 {
	var seq uint32
	for rest := t; len(rest) >= unix.SizeofNlMsghdr; {
		size := binary.NativeEndian.Uint32(rest)
		if binary.NativeEndian.Uint16(rest[6:])&unix.NLM_F_ACK != 0 {
			seq = binary.NativeEndian.Uint32(rest[8:])
		}
		rest = rest[min(int(size+3)&^3, len(rest)):]
	}
	return seq
}

// answers reads what the kernel says of messages. It is done with the last message's answer, or with the first's, which is
// refused alone where the transaction as a whole is.
func answers(b []byte, last uint32) (done bool, err error) {
	const header, body = unix.SizeofNlMsghdr, 4
	for len(b) >= header {
		size := int(binary.NativeEndian.Uint32(b))
		if size < header || size > len(b) {
			return true, errors.New("nfnetlink: an answer is cut")
		}
		if kind := binary.NativeEndian.Uint16(b[4:]); kind == unix.NLMSG_ERROR && size >= header+body {
			errno := -int32(binary.NativeEndian.Uint32(b[header:]))
			if errno != 0 {
				err = errors.Join(err, unix.Errno(errno))
			}
			seq := binary.NativeEndian.Uint32(b[8:])
			done = done || seq == last || seq == 0 && errno != 0
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return done, err
}
