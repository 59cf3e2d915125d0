package engine

import (
	"io/fs"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// A network is found by its name, its ID and the beginning of that; "bridge", "host" and "none" are always there.
func TestFindNetwork(t *testing.T) {
	e := newEngine(t)
	all, err := e.ListNetworks(t.Context())
	require.NoError(t, err)
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
		require.Len(t, n.ID, 64)
		require.True(t, PredefinedNetwork(n.Name))
	}
	require.Equal(t, []string{"bridge", "host", "none"}, names)
	made, err := e.CreateNetwork(t.Context(), "front", nil)
	require.NoError(t, err)
	for _, n := range append(all, made) {
		for _, ref := range []string{n.Name, n.ID, n.ID[:12]} {
			found, err := e.FindNetwork(t.Context(), ref)
			require.NoError(t, err, ref)
			require.Equal(t, n, found)
		}
	}
	for _, ref := range []string{"nothing", "", "../front", "0000000000000000000000000000000"} {
		_, err := e.FindNetwork(t.Context(), ref)
		require.ErrorIs(t, err, fs.ErrNotExist, ref)
	}
	_, err = e.CreateNetwork(t.Context(), made.ID[:12], nil) // a name that is the beginning of an ID, too, is a name
	require.NoError(t, err)
	found, err := e.FindNetwork(t.Context(), made.ID[:12])
	require.NoError(t, err)
	require.Equal(t, made.ID[:12], found.Name)
	require.NoError(t, e.RemoveNetwork(t.Context(), made.ID[:12]))
	for _, ref := range []string{"host", all[1].ID, all[0].ID, "none"} {
		require.ErrorContains(t, e.RemoveNetwork(t.Context(), ref), "operation is not permitted on predefined")
	}

	// A container that is given an ID has the network by its name.
	c, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e), Networks: []Connection{{Network: made.ID}}})
	require.NoError(t, err)
	require.Equal(t, "front", c.Networks[0].Network)
	require.ErrorContains(t, e.Connect(t.Context(), c.ID, &Connection{Network: "host"}), "container cannot be connected to host network")
	require.NoError(t, e.Connect(t.Context(), c.ID, &Connection{Network: all[0].ID[:20]}))
	used, err := e.UsedNetworks(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"front": true, "bridge": true}, used)
	require.NoError(t, e.Disconnect(t.Context(), c.ID, made.ID[:12]))
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))

	kept, err := e.PruneNetworks(t.Context(), &network.PruneOptions{Keep: func(network.Network) bool { return true }})
	require.NoError(t, err)
	require.Empty(t, kept)
	require.NoError(t, e.RemoveNetwork(t.Context(), made.ID))
}

func TestSetNetworkOption(t *testing.T) {
	o := &network.CreateOptions{}
	for name, value := range map[string]string{
		"com.docker.network.bridge.name": "br-x", "com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.enable_icc": "false",
		"com.docker.network.bridge.enable_ip_masquerade": "false", "ipvlan_mode": "l3",
	} {
		require.NoError(t, SetNetworkOption(o, name, value))
		require.Equal(t, value, o.Options[name])
	}
	o.Options = nil
	require.Equal(t, &network.CreateOptions{Interface: "br-x", MTU: 1400, Isolated: true, NoMasquerade: true, Mode: "l3"}, o)
	for name, value := range map[string]string{
		"x": "", "com.docker.network.driver.mtu": "x", "com.docker.network.bridge.enable_icc": "maybe", "com.docker.network.bridge.gateway_mode_ipv4": "nat",
	} {
		require.ErrorContains(t, SetNetworkOption(o, name, value), name)
	}
	require.Nil(t, o.Options)
}

// What can be refused of a network is Invalid, so that who asked is told that it is their fault.
func TestCreateNetworkRefuses(t *testing.T) {
	e := newEngine(t)
	for _, name := range []string{"", "../x", "a b"} {
		_, err := e.CreateNetwork(t.Context(), name, nil)
		require.ErrorIs(t, err, fs.ErrInvalid, name)
	}
	subnet := network.Subnet{Prefix: netip.MustParsePrefix("10.9.0.0/24")}
	subnet.Reserved = map[string]netip.Addr{"router": netip.MustParseAddr("10.8.0.1")}
	_, err := e.CreateNetwork(t.Context(), "x", &network.CreateOptions{Subnets: []network.Subnet{subnet}})
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.ErrorContains(t, err, "Reserved: 10.8.0.1 (router) is no address of 10.9.0.0/24")
}
