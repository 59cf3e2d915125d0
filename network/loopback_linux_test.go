package network

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// TestLoopbackWithoutAddress: lo is up a moment before it has its address, and the container's launch sets it up while the resolver is made.
func TestLoopbackWithoutAddress(t *testing.T) {
	m := newMachine(t)
	var before, after []netlink.Addr
	m.in(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if before, err = netlink.AddrList(lo, netlink.FAMILY_V4); err != nil {
			return err
		}
		for i := range before {
			if err := netlink.AddrDel(lo, &before[i]); err != nil {
				return err
			}
		}
		b := &Sandbox{}
		defer b.silence()
		if err := b.listen(); err != nil {
			return err
		}
		after, err = netlink.AddrList(lo, netlink.FAMILY_V4)
		return err
	})
	require.Len(t, before, 1)
	require.Equal(t, before, after, "as the kernel gives it")
}
