package usernet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// open makes the tap device and gives it what the endpoint has. tun is used up.
func (p *port) open(tun, rtnl *os.File) (err error) {
	fd, err := unix.FcntlInt(tun.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return errors.Join(os.NewSyscallError("fcntl", err), tun.Close())
	}
	// A file that was polled before it was a device's is never ready.
	if err := tun.Close(); err != nil {
		_ = unix.Close(fd)
		return err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if p.name, err = attachTap(fd, p.e.Endpoint.Interface); err != nil {
		return err
	}
	size := int32(vnetHeader)
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, int(size)); err != nil {
		return os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6); err != nil {
		return os.NewSyscallError("TUNSETOFFLOAD", err)
	}
	mac, err := net.ParseMAC(p.e.Endpoint.MAC)
	if err != nil {
		return err
	}
	p.mac = [6]byte(mac)
	for _, a := range []netip.Addr{p.e.Endpoint.IPv4.Addr(), p.e.Endpoint.IPv6.Addr()} {
		if a.IsValid() {
			p.addrs = append(p.addrs, a)
		}
	}
	if p.e.Endpoint.IPv6.IsValid() {
		p.addrs = append(p.addrs, linkLocal(p.mac))
	}
	if err := p.configure(&rtnetlink{f: rtnl}); err != nil {
		return err
	}
	p.fd = fd
	p.tap = os.NewFile(uintptr(fd), "tap")
	return nil
}

// attachTap makes the device, by the name or the first that is free.
func attachTap(fd int, name string) (string, error) {
	names := []string{name}
	if name == "" {
		names = nil
		for i := range 64 {
			names = append(names, "eth"+strconv.Itoa(i))
		}
	}
	var err error
	for _, name := range names {
		var r *unix.Ifreq
		if r, err = unix.NewIfreq(name); err != nil {
			return "", err
		}
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err == nil {
			return r.Name(), nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	return "", fmt.Errorf("make a tap device: %w", os.NewSyscallError("TUNSETIFF", err))
}

// configure gives the interface its addresses and routes.
func (p *port) configure(r *rtnetlink) error {
	e, n := &p.e.Endpoint, &p.e.Network
	index, err := r.index(p.name)
	if err != nil {
		return err
	}
	mtu := n.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	link := nl.NewIfInfomsg(unix.AF_UNSPEC)
	link.Index, link.Flags, link.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	err = r.do("set it up", unix.RTM_NEWLINK, 0, link, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))),
		nl.NewRtAttr(unix.IFLA_ADDRESS, p.mac[:]))
	if err != nil {
		return err
	}
	for _, a := range []netip.Prefix{e.IPv4, e.IPv6} {
		if !a.IsValid() {
			continue
		}
		family := familyOf(a.Addr())
		addr := nl.NewIfAddrmsg(family)
		addr.Index, addr.Prefixlen, addr.IfAddrmsg.Flags = uint32(index), uint8(a.Bits()), 0
		if a.Addr().Is6() {
			addr.IfAddrmsg.Flags = unix.IFA_F_NODAD
		}
		attrs := []nl.NetlinkRequestData{addr, nl.NewRtAttr(unix.IFA_LOCAL, a.Addr().AsSlice()), nl.NewRtAttr(unix.IFA_ADDRESS, a.Addr().AsSlice())}
		if err := r.do("give it the address "+a.String(), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, attrs...); err != nil {
			return err
		}
		sub, _ := n.Subnet(a.Addr().Is6())
		neigh := make([]byte, 12) // struct ndmsg
		neigh[0] = byte(family)
		binary.NativeEndian.PutUint32(neigh[4:], uint32(index))
		binary.NativeEndian.PutUint16(neigh[8:], unix.NUD_PERMANENT)
		err := r.do("note the gateway", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, raw(neigh),
			nl.NewRtAttr(unix.NDA_DST, sub.Gateway.AsSlice()), nl.NewRtAttr(unix.NDA_LLADDR, gatewayMAC(n)))
		if err != nil {
			return err
		}
		if n.Internal {
			continue
		}
		route := nl.NewRtMsg()
		route.Family = uint8(family)
		err = r.do("default route by "+sub.Gateway.String(), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, route,
			nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))), nl.NewRtAttr(unix.RTA_GATEWAY, sub.Gateway.AsSlice()),
			nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(uint32(p.e.Metric))))
		if err != nil {
			return err
		}
	}
	return nil
}

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

type raw []byte

func (r raw) Len() int          { return len(r) }
func (r raw) Serialize() []byte { return r }

// rtnetlink is a socket in the container's network namespace.
type rtnetlink struct{ f *os.File }

func (r *rtnetlink) do(what string, kind, flags int, data ...nl.NetlinkRequestData) error {
	_, err := r.ask(kind, flags|unix.NLM_F_ACK, data)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (r *rtnetlink) index(name string) (int, error) {
	b, err := r.ask(unix.RTM_GETLINK, 0, []nl.NetlinkRequestData{
		nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
	})
	if err == nil && len(b) < 8 {
		err = unix.EBADMSG
	}
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return int(binary.NativeEndian.Uint32(b[4:])), nil
}

// ask sends a request and returns what the one answer has after its header.
func (r *rtnetlink) ask(kind, flags int, data []nl.NetlinkRequestData) ([]byte, error) {
	req := nl.NewNetlinkRequest(kind, flags)
	for _, d := range data {
		req.AddData(d)
	}
	fd := int(r.f.Fd())
	if err := unix.Sendto(fd, req.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	b := make([]byte, 32<<10)
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	if n < unix.SizeofNlMsghdr+4 {
		return nil, unix.EBADMSG
	}
	if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
		if no := int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); no != 0 {
			return nil, unix.Errno(-no)
		}
	}
	return b[unix.SizeofNlMsghdr:n], nil
}
