package bundle

import (
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// MoveNetDevices moves the network devices of linux.netDevices into the network namespace of a process, under the names that
// they shall have there, with their permanent addresses, and up if they were. If one cannot be moved, those that were come
// back. The caller closes what it gets; it is nil if there are no devices.
func (b *Bundle) MoveNetDevices(pid int) (_ *MovedDevices, err error) {
	devices := b.Spec.Linux.NetDevices
	if len(devices) == 0 {
		return nil, nil
	}
	m := &MovedDevices{}
	defer func() {
		if err != nil {
			m.Back()
			m.Close()
		}
	}()
	target, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, wrong("linux.netDevices", "network namespace of process %d: %w", pid, err)
	}
	m.there.ns, m.open = target, append(m.open, target)
	own, err := netns.Get()
	if err != nil {
		return nil, wrong("linux.netDevices", "own network namespace: %w", err)
	}
	m.here.ns, m.open = own, append(m.open, own)
	for _, side := range []*side{&m.here, &m.there} {
		if side.links, err = netlink.NewHandleAt(side.ns, unix.NETLINK_ROUTE); err != nil {
			return nil, wrong("linux.netDevices", "netlink: %w", err)
		}
	}
	for _, host := range slices.Sorted(maps.Keys(devices)) {
		name := devices[host].Name
		if name == "" {
			name = host
		}
		if err := m.move(host, name); err != nil {
			return nil, &FieldError{Field: "linux.netDevices." + host, Err: err}
		}
	}
	return m, nil
}

// MovedDevices are network devices that were moved into a container's namespace, which stays as long as this is not closed.
type MovedDevices struct {
	here, there side
	open        []netns.NsHandle
	devices     []netDevice
}

// A side is a network namespace.
type side struct {
	ns    netns.NsHandle
	links *netlink.Handle
}

// A netDevice is what a device was before it was moved.
type netDevice struct {
	name, newName string
	up            bool
	addresses     []netlink.Addr
}

// Back moves the devices back where they were, as they were. Those that cannot be stay.
func (m *MovedDevices) Back() {
	if m == nil {
		return
	}
	for _, d := range slices.Backward(m.devices) {
		_ = d.back(&m.there, &m.here)
	}
	m.devices = nil
}

// Close gives up the namespaces.
func (m *MovedDevices) Close() {
	if m == nil {
		return
	}
	for _, side := range []*side{&m.here, &m.there} {
		if side.links != nil {
			side.links.Close()
		}
	}
	for _, ns := range m.open {
		_ = ns.Close()
	}
	m.open = nil
}

// move moves a device, and gives it a new name. If it fails, the device is where and what it was.
func (m *MovedDevices) move(name, newName string) error {
	l, err := m.here.links.LinkByName(name)
	if err != nil {
		return err
	}
	if _, err := m.there.links.LinkByName(newName); err == nil {
		return fmt.Errorf("the container has a device %s", newName)
	}
	d := netDevice{name: name, newName: newName, up: l.Attrs().Flags&net.FlagUp != 0}
	addresses, err := m.here.links.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if a.Scope == unix.RT_SCOPE_UNIVERSE && a.Flags&unix.IFA_F_PERMANENT != 0 {
			d.addresses = append(d.addresses, netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Broadcast: a.Broadcast})
		}
	}
	err = m.here.links.LinkSetDown(l)
	if err == nil {
		err = moveAs(l.Attrs().Index, m.there.ns, newName)
	}
	if err != nil {
		_ = d.settle(m.here.links, name, name)
		return err
	}
	if err := d.settle(m.there.links, newName, newName); err != nil {
		_ = d.back(&m.there, &m.here)
		return err
	}
	m.devices = append(m.devices, d)
	return nil
}

// moveAs moves a device of this process's namespace into another one. It gets its new name with the same message: the kernel takes that
// where another device has the old one, so that two can swap theirs.
func moveAs(index int, ns netns.NsHandle, newName string) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(newName)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// back moves the device back, whether it has got its new name or not.
func (d *netDevice) back(from, to *side) error {
	name := d.newName
	l, err := from.links.LinkByName(name)
	if err != nil {
		name = d.name
		if l, err = from.links.LinkByName(name); err != nil {
			return err
		}
	}
	if err := from.links.LinkSetDown(l); err != nil {
		return err
	}
	// Its new name may be another device's there.
	if name != d.name && from.links.LinkSetName(l, d.name) == nil {
		name = d.name
	}
	if err := from.links.LinkSetNsFd(l, int(to.ns)); err != nil {
		return err
	}
	return d.settle(to.links, name, d.name)
}

// settle gives a device its name, its addresses, and has it be up if it was.
func (d *netDevice) settle(links *netlink.Handle, name, newName string) error {
	l, err := links.LinkByName(name)
	if err == nil && name != newName {
		err = links.LinkSetName(l, newName)
	}
	for _, a := range d.addresses {
		if err == nil {
			err = links.AddrReplace(l, &a)
		}
	}
	if err == nil && d.up {
		err = links.LinkSetUp(l)
	}
	return err
}
