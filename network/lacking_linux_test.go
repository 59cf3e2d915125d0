package network

import (
	"errors"
	"io/fs"
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// neighbours are an engine's host, whose default route is by the client, without IPv6.
func neighbours(t *testing.T) (host, client *machine) {
	t.Helper()
	host, client = newMachine(t), newMachine(t)
	cable(client, host, "lan", "10.1.0.1/24", "10.1.0.2/24")
	host.route("0.0.0.0/0", "10.1.0.1")
	return host, client
}

// published attaches a container to a network of IPv4, and requires that it is reached as with IPv6.
func published(t *testing.T, s *Store, host, client *machine) {
	t.Helper()
	t.Cleanup(func() { // the standard library keeps pipes for splice(2), which in a process of this test alone are still there at its end
		runtime.GC()
		runtime.GC()
	})
	_, err := s.Create(t.Context(), "four", nil)
	require.NoError(t, err)
	b, m := newSandbox(t, s, "four")
	m.serve(80)
	client.serve(81)
	attach(t, b, "four", &EndpointOptions{Names: []string{"four"}, Ports: []Port{{Host: 8080, Container: 80}, {Host: 8080, Container: 80, Protocol: "udp"}}})
	for _, network := range []string{"tcp", "udp"} {
		client.sees(network, "10.1.0.2:8080", "10.1.0.1")
		host.sees(network, "127.0.0.1:8080", "172.17.0.1")
	}
	m.sees("tcp", "10.1.0.1:81", "10.1.0.2")
	c, err := b.Dial(t.Context(), "tcp", "four:80")
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// refused requires that a container cannot be attached for want of something that the error names, and that nothing is left of it.
func refused(t *testing.T, s *Store, host *machine, network, want string) {
	t.Helper()
	before := linksOf(host)
	ports := []Port{{Host: 9000, Container: 80}}
	n, err := s.Get(network)
	require.NoError(t, err)
	if n.Driver != Bridge {
		ports = nil
	}
	b, m := newSandbox(t, s, "refused")
	_, err = b.Attach(t.Context(), network, &EndpointOptions{Ports: ports})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "attach refused to network "+network+": ")
	require.ErrorContains(t, err, want)
	require.Equal(t, before, linksOf(host))
	require.Equal(t, []string{"lo"}, linksOf(m))
	all, err := s.Endpoints(network)
	require.NoError(t, err)
	require.Empty(t, all)
	r, err := s.Reserve(ports)
	require.NoError(t, err, "the port is free again")
	r.Close()
}

// TestHostWithoutIPv6: where IPv6 is turned off networks of IPv4 do all that they do elsewhere, and one of IPv6 is refused.
func TestHostWithoutIPv6(t *testing.T) {
	host, client := neighbours(t)
	host.in(func() error {
		for _, name := range []string{"default", "all"} {
			err := writeSysctl("ipv6/conf/"+name+"/disable_ipv6", "1")
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // the kernel was started without
				return err
			}
		}
		return nil
	})
	s := newStore(t, host)
	published(t, s, host, client)
	_, err := s.Create(t.Context(), "six", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	refused(t, s, host, "six", "the host has no IPv6")
	require.NoError(t, s.Check(t.Context()))
}

// TestKernelWithoutIPv6: a kernel that has no sockets of IPv6 binds those of IPv4.
func TestKernelWithoutIPv6(t *testing.T) {
	testenv.RequireRoot(t)
	if !testenv.OnOlderKernel(t, []testenv.Denied{{
		Call: unix.SYS_SOCKET, Mask: ^uint32(0), Value: unix.AF_INET6, Errno: unix.EAFNOSUPPORT,
	}}) {
		return
	}
	host, client := neighbours(t)
	s := newStore(t, host)
	published(t, s, host, client)
	_, err := s.Reserve([]Port{{Host: 9000, Container: 1, Address: netip.IPv6Loopback()}})
	require.ErrorIs(t, err, unix.EAFNOSUPPORT)
	require.ErrorContains(t, err, "publish [::1]:9000->1/tcp: ")
}

// TestKernelWithoutNftables: what is lacking is named, and nothing is left.
func TestKernelWithoutNftables(t *testing.T) {
	testenv.RequireRoot(t)
	if !testenv.OnOlderKernel(t, []testenv.Denied{{
		Call: unix.SYS_SOCKET, Arg: 2, Mask: ^uint32(0), Value: unix.NETLINK_NETFILTER, Errno: unix.EPROTONOSUPPORT,
	}}) {
		return
	}
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	refused(t, s, host, "net", "the kernel lacks nf_tables")
}

// TestKernelWithoutDriver: of a driver that the kernel has not.
func TestKernelWithoutDriver(t *testing.T) {
	host, _ := neighbours(t)
	s := newStore(t, host)
	for driver, subnet := range map[Driver]string{Macvlan: "10.6.0.0/24", Ipvlan: "10.7.0.0/24"} {
		_, err := s.Create(t.Context(), string(driver), &CreateOptions{Driver: driver, Interface: "lan", Subnets: prefixes(subnet)})
		require.NoError(t, err)
		b, _ := newSandbox(t, s, "first")
		if _, err = b.Attach(t.Context(), string(driver), nil); err == nil {
			require.NoError(t, b.Close()) // it has
			continue
		}
		refused(t, s, host, string(driver), "the kernel lacks "+string(driver))
	}
}
