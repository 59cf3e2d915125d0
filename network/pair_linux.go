package network

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A pair is two interfaces, one a port of a bridge, the other in a sandbox. The library makes it in three steps, each of which the kernel
// tells everybody of, and looks among all the network namespaces that it knows for the other end's then: that takes the
// longer the more containers there are.
type pair struct {
	name, peer string
	bridge     netlink.Link
	mac        net.HardwareAddr // the peer's
	ns         *os.File         // the peer's
}

// makePair makes a pair, down, and returns the port.
func (h *host) makePair(p *pair) (netlink.Link, error) {
	mtu := nl.Uint32Attr(uint32(p.bridge.Attrs().MTU))
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(p.name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, mtu))
	req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(p.bridge.Attrs().Index))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(p.peer))
	peer.AddRtAttr(unix.IFLA_MTU, mtu)
	peer.AddRtAttr(unix.IFLA_ADDRESS, p.mac)
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(p.ns.Fd())))
	req.AddData(info)
	req.Seq = 1
	if err := transaction(req.Serialize()).commit(h.route); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = p.name, p.bridge.Attrs().MTU, p.bridge.Attrs().Index
	var err error
	if attrs.Index, err = interfaceIndex(h.route, p.name); err != nil {
		return nil, err
	}
	return &netlink.Veth{LinkAttrs: attrs, PeerName: p.peer}, nil
}

// openRoute opens a socket for rtnetlink, and for questions by ioctl, in the calling thread's network namespace.
func openRoute() (fd int, err error) {
	if fd, err = openNetlink(unix.NETLINK_ROUTE); err != nil {
		return -1, fmt.Errorf("open rtnetlink: %w", err)
	}
	return fd, nil
}

// interfaceIndex asks by a socket of the network namespace for an interface's number. By netlink the kernel answers with all that it knows of
// it, which takes fifty times as long.
func interfaceIndex(fd int, name string) (int, error) {
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r)
	}
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return int(r.Uint32()), nil
}

// interfaceUp tells whether an interface was set up.
func interfaceUp(fd int, name string) (bool, error) {
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r)
	}
	if err != nil {
		return false, fmt.Errorf("interface %s: %w", name, err)
	}
	return r.Uint16()&unix.IFF_UP != 0, nil
}
