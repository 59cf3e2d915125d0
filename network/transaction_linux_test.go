package network

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// transactions counts those that change the machine's rules while f runs: the kernel tells of each.
func (m *machine) transactions(f func()) (n int) {
	m.t.Helper()
	fd := -1
	m.in(func() (err error) {
		if fd, err = openNetfilter(); err == nil {
			err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
		}
		return err
	})
	defer unix.Close(fd)
	require.NoError(m.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20))
	f()
	b := make([]byte, 64<<10)
	for {
		size, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return n
		}
		require.NoError(m.t, err, "each one was told of before it was answered")
		for rest := b[:size]; len(rest) >= unix.SizeofNlMsghdr; {
			if binary.NativeEndian.Uint16(rest[4:]) == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
				n++
			}
			rest = rest[min(int(binary.NativeEndian.Uint32(rest)+3)&^3, len(rest)):]
		}
	}
}

// TestOneTransaction: whatever is attached or detached, it is one transaction, and the container's own rules are one more of its namespace.
func TestOneTransaction(t *testing.T) {
	host, _, _ := world(t)
	filterBridged(t, host, "0")
	s := newStore(t, host)
	s.perBridge = 2
	for _, name := range []string{"net", "other"} {
		_, err := s.Create(t.Context(), name, &CreateOptions{IPv6: true})
		require.NoError(t, err)
	}
	one := func(what string, f func()) {
		t.Helper()
		require.Equal(t, 1, host.transactions(f), what)
	}
	none := func(what string, f func()) {
		t.Helper()
		require.Zero(t, host.transactions(f), what)
	}
	b, _ := newSandbox(t, s, "first")
	one("the tables with a network and its first endpoint", func() { attach(t, b, "net", nil) })
	one("the last endpoint and its network", func() { require.NoError(t, b.Close()) })
	one("a network and its first endpoint", func() { b, _ = newSandbox(t, s, "first"); attach(t, b, "net", nil) })
	require.NoError(t, b.Close())

	published := []Port{{Container: 80}, {Container: 81, Protocol: "udp"}, {Container: 82, Host: 8082}}
	var boxes []*Sandbox
	for i := range 4 { // the third is the first of a leaf
		b, m := newSandbox(t, s, fmt.Sprint("box", i))
		boxes = append(boxes, b)
		if i == 3 {
			require.Equal(t, 1, m.transactions(func() { attach(t, b, "other", nil) }), "the resolver's")
			one("connect", func() { attach(t, b, "net", &EndpointOptions{Ports: published}) })
			continue
		}
		one("attach", func() { attach(t, b, "net", &EndpointOptions{Ports: published[:i]}) })
	}
	one("disconnect, and the network's bridge", func() { require.NoError(t, boxes[3].Detach(t.Context(), "other")) })
	one("detach with ports", func() { require.NoError(t, boxes[3].Detach(t.Context(), "net")) })
	one("the last of a leaf", func() { require.NoError(t, boxes[2].Close()) })
	none("an attachment that is refused", func() {
		_, err := boxes[3].Attach(t.Context(), "net", &EndpointOptions{Ports: []Port{{Container: 1, Host: 65000}, {Container: 2, Host: 65000}}})
		require.ErrorIs(t, err, ErrPortInUse)
	})
	none("Check, and Repair of what is whole", func() {
		require.NoError(t, s.Check(t.Context()))
		require.NoError(t, s.Repair(t.Context()))
	})
	host.flushRules()
	one("attach after somebody flushed them: the tables with all that they had", func() {
		b, _ := newSandbox(t, s, "box4")
		attach(t, b, "net", &EndpointOptions{Ports: []Port{{Container: 83}}})
	})
	require.NoError(t, s.Check(t.Context()))
	host.in(func() error { // the ruleset is others', too
		conn, err := nftables.New()
		if err == nil {
			conn.AddTable(&nftables.Table{Name: "others", Family: nftables.TableFamilyIPv4})
			err = conn.Flush()
		}
		return err
	})
	one("attach after that", func() {
		b, _ := newSandbox(t, s, "box5")
		attach(t, b, "net", nil)
	})
	host.flushRules()
	one("Repair", func() { require.NoError(t, s.Repair(t.Context())) })
	require.NoError(t, s.Check(t.Context()))
}

// TestTransactionRefused: what the kernel refuses is named, with nothing done, and the socket serves on.
func TestTransactionRefused(t *testing.T) {
	host := newMachine(t)
	fd := -1
	host.in(func() (err error) { fd, err = openNetfilter(); return err })
	defer unix.Close(fd)
	commit := func(build func(c *nftables.Conn)) error {
		tx, err := encode(func(c *nftables.Conn) error { build(c); return nil })
		require.NoError(t, err)
		return tx.commit(fd)
	}
	table := func(name string) *nftables.Table {
		return &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	}
	require.NoError(t, commit(func(*nftables.Conn) {}), "nothing")
	require.NoError(t, commit(func(c *nftables.Conn) { c.AddTable(table("one")) }))
	err := commit(func(c *nftables.Conn) {
		c.AddTable(table("two"))
		c.CreateTable(table("one"))
		c.DelTable(table("three"))
		c.AddTable(table("four"))
	})
	require.ErrorIs(t, err, unix.EEXIST)
	require.ErrorIs(t, err, unix.ENOENT)
	require.NoError(t, commit(func(c *nftables.Conn) { c.CreateTable(table("two")); c.CreateTable(table("four")) }), "they were not made")

	large := func(c *nftables.Conn) { // than a socket's buffer
		for i := range 3000 {
			c.AddTable(table(fmt.Sprintf("table-%0100d", i)))
		}
		c.CreateTable(table("one"))
	}
	require.ErrorIs(t, commit(large), unix.EEXIST)
	require.Error(t, commit(func(c *nftables.Conn) { // with more answers than the socket's buffer holds
		for range 2000 {
			c.CreateTable(table("one"))
		}
	}))
	require.NoError(t, commit(func(c *nftables.Conn) { c.CreateTable(table("five")) }), "they are not this one's")
	_, err = encode(func(*nftables.Conn) error { return unix.EINVAL })
	require.ErrorIs(t, err, unix.EINVAL)
}

// TestAnswers: what is cut or foreign is no answer.
func TestAnswers(t *testing.T) {
	message := func(kind uint16, seq uint32, errno int32) []byte {
		b := binary.NativeEndian.AppendUint32(nil, 20)
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = binary.NativeEndian.AppendUint16(b, 0)
		b = binary.NativeEndian.AppendUint32(b, seq)
		b = binary.NativeEndian.AppendUint32(b, 0)
		return binary.NativeEndian.AppendUint32(b, uint32(-errno))
	}
	for _, c := range []struct {
		b    []byte
		done bool
		err  error
	}{
		{nil, false, nil},
		{message(unix.NLMSG_ERROR, 7, 0), true, nil},
		{message(unix.NLMSG_ERROR, 7, int32(unix.EPERM)), true, unix.EPERM},
		{message(unix.NLMSG_ERROR, 3, int32(unix.ENOENT)), false, unix.ENOENT},
		{message(unix.NLMSG_ERROR, 0, int32(unix.EPERM)), true, unix.EPERM},
		{message(unix.NLMSG_ERROR, 0, 0), false, nil},
		{message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN, 7, 0), false, nil},
		{append(message(unix.NLMSG_ERROR, 3, int32(unix.EEXIST)), message(unix.NLMSG_ERROR, 7, 0)...), true, unix.EEXIST},
	} {
		done, err := answers(c.b, 7)
		require.Equal(t, c.done, done)
		require.ErrorIs(t, err, c.err)
	}
	for _, cut := range [][]byte{message(unix.NLMSG_ERROR, 7, 0)[:18], make([]byte, 16)} {
		done, err := answers(cut, 7)
		require.True(t, done)
		require.ErrorContains(t, err, "cut")
	}
}

// TestRedirectedPorts: the ports that stand for others in what is encoded once may be those others, in a sandbox whose range of ports begins
// at 1.
func TestRedirectedPorts(t *testing.T) {
	both := transaction(portAttribute(anyUDP) + portAttribute(anyTCP))
	for _, ports := range [][2]uint16{{40000, 50000}, {anyTCP, anyUDP}, {anyTCP, 7}, {7, anyUDP}} {
		require.Equal(t, portAttribute(ports[0])+portAttribute(ports[1]), string(both.withPorts(ports[0], ports[1])))
	}
}
