package bundle

import (
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// MoveNetDevices moves the network devices of linux.netDevices into the network namespace of a process, under the names that
// they shall have there, with their permanent addresses, and up if they were. If one cannot be moved, those that were come
// back.
func (b *Bundle) MoveNetDevices(pid int) (err error) {
	devices := b.Spec.Linux.NetDevices
	if len(devices) == 0 {
		return nil
	}
	target, err := netns.GetFromPid(pid)
	if err != nil {
		return wrong("linux.netDevices", "network namespace of process %d: %w", pid, err)
	}
	defer target.Close()
	own, err := netns.Get()
	if err != nil {
		return wrong("linux.netDevices", "own network namespace: %w", err)
	}
	defer own.Close()
	there, err := netlink.NewHandleAt(target, unix.NETLINK_ROUTE)
	if err != nil {
		return wrong("linux.netDevices", "netlink: %w", err)
	}
	defer there.Close()
	here, err := netlink.NewHandleAt(own, unix.NETLINK_ROUTE)
	if err != nil {
		return wrong("linux.netDevices", "netlink: %w", err)
	}
	defer here.Close()
	var moved []func()
	defer func() {
		if err == nil {
			return
		}
		for _, back := range slices.Backward(moved) {
			back()
		}
	}()
	for _, host := range slices.Sorted(maps.Keys(devices)) {
		name := devices[host].Name
		if name == "" {
			name = host
		}
		moved = append(moved, func() { _ = moveDevice(there, here, own, name, host) })
		if err := moveDevice(here, there, target, host, name); err != nil {
			moved = moved[:len(moved)-1]
			return &FieldError{Field: "linux.netDevices." + host, Err: err}
		}
	}
	return nil
}

// moveDevice moves a device from one namespace to another, with a new name.
func moveDevice(from, to *netlink.Handle, target netns.NsHandle, name, newName string) error {
	l, err := from.LinkByName(name)
	if err != nil {
		return err
	}
	if _, err := to.LinkByName(newName); err == nil {
		return fmt.Errorf("the container has a device %s", newName)
	}
	addresses, err := from.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	up := l.Attrs().Flags&net.FlagUp != 0
	if err := from.LinkSetDown(l); err != nil {
		return err
	}
	if err := from.LinkSetNsFd(l, int(target)); err != nil {
		return err
	}
	m, err := to.LinkByName(name)
	if err == nil && name != newName {
		err = to.LinkSetName(m, newName)
	}
	for _, a := range addresses {
		if err != nil || a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_PERMANENT == 0 {
			continue
		}
		err = to.AddrReplace(m, &netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Broadcast: a.Broadcast})
	}
	if err == nil && up {
		err = to.LinkSetUp(m)
	}
	return err
}
