package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// TestLeaves: what a network's bridge has no room for is on leaves, and nobody sees a difference.
func TestLeaves(t *testing.T) {
	for _, filtered := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+filtered, func(t *testing.T) { testLeaves(t, filtered) })
	}
}

func testLeaves(t *testing.T, filtered string) {
	host, _, client := world(t)
	hairpin := "172.17.0.1"
	filterBridged(t, host, filtered)
	s := newStore(t, host)
	s.perBridge = 1
	_, err := s.Create(t.Context(), "net", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	var boxes []*Sandbox
	var machines []*machine
	var ends []Endpoint
	for i := range 3 {
		b, m := newSandbox(t, s, fmt.Sprint("box", i))
		x, err := s.index("net")
		require.NoError(t, err)
		if filtered == "1" && i > 0 {
			// As if the bridge were full: leaves come late there.
			x.mu.Lock()
			for leaf := range i {
				x.leaves[leaf] += perFiltered
			}
			x.mu.Unlock()
		}
		e := attach(t, b, "net", &EndpointOptions{Names: []string{fmt.Sprint("box", i)}, Ports: []Port{{Host: uint16(8080 + i), Container: 80}}})
		require.Equal(t, i, e.Leaf)
		if filtered == "1" && i > 0 {
			x.mu.Lock()
			for leaf := range i {
				x.leaves[leaf] -= perFiltered
			}
			x.mu.Unlock()
		}
		m.serve(80)
		boxes, machines, ends = append(boxes, b), append(machines, m), append(ends, e)
	}
	client.serve(80)
	require.NoError(t, s.Check(t.Context()))
	for i, m := range machines {
		port := fmt.Sprint(8080 + i)
		for j, other := range ends {
			if i != j {
				m.sees("tcp", addrPort(other.IPv4, 80), ends[i].IPv4.Addr().String())
				m.sees("tcp", addrPort(other.IPv6, 80), ends[i].IPv6.Addr().String())
				m.sees("udp", addrPort(other.IPv4, 80), ends[i].IPv4.Addr().String())
				want := hairpin
				if filtered == "1" {
					want = ends[i].IPv4.Addr().String()
				}
				m.sees("tcp", fmt.Sprint("10.1.0.2:", 8080+j), want)
			}
		}
		require.Equal(t, ends[(i+1)%3].IPv4.Addr().String()+"\n", m.dig(fmt.Sprint("box", (i+1)%3)))
		m.sees("tcp", "10.2.0.2:80", "10.1.0.2")
		m.sees("tcp", "[fd02::2]:80", "fd01::2")
		client.sees("tcp", "10.1.0.2:"+port, "10.2.0.2")
		client.sees("tcp", "[fd01::2]:"+port, "fd02::2")
		host.sees("tcp", "127.0.0.1:"+port, hairpin)
		if filtered == "0" {
			m.sees("tcp", "10.1.0.2:"+port, hairpin)
		}
	}
	// A leaf is not the host: nobody is reached by its hardware address, though the packets are the container's own.
	n, err := s.Get("net")
	require.NoError(t, err)
	name := leafName(leafPrefix, &n, 1)
	var leaf net.HardwareAddr
	host.in(func() error {
		l, err := netlink.LinkByName(name)
		require.NoError(t, err)
		leaf = l.Attrs().HardwareAddr
		return nil
	})
	far, near := client.heard("99"), host.heard("99")
	for _, to := range []net.HardwareAddr{leaf, macOf(n.Subnets[0].Gateway)} {
		for _, dst := range []string{"10.2.0.2", "10.1.0.2"} {
			machines[1].raw("eth0", datagram(to, ends[1].mac(), ends[1].IPv4.Addr(), netip.MustParseAddr(dst), 99, to.String()))
		}
	}
	require.Equal(t, macOf(n.Subnets[0].Gateway).String()+" from 10.1.0.2", <-far)
	require.Equal(t, macOf(n.Subnets[0].Gateway).String()+" from 172.17.0.3", <-near)
	host.in(func() error {
		l, err := netlink.LinkByName(name)
		require.NoError(t, err)
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		require.Empty(t, addrs)
		return err
	})
	// Nor are pins left out, in another's name.
	heard := machines[2].heard("98")
	machines[1].raw("eth0", datagram(ends[2].mac(), ends[1].mac(), netip.MustParseAddr("172.17.0.99"), ends[2].IPv4.Addr(), 98, "spoofed"),
		datagram(ends[2].mac(), ends[1].mac(), ends[1].IPv4.Addr(), ends[2].IPv4.Addr(), 98, "own"))
	require.Equal(t, "own from 172.17.0.3", <-heard)

	// Somebody flushed the rules, and the next change makes them anew; a leaf goes with its last container.
	host.flushRules()
	require.NoError(t, boxes[1].Close())
	require.NoError(t, s.Repair(t.Context()))
	require.NoError(t, s.Check(t.Context()))
	require.NotContains(t, linksOf(host), name)
	machines[2].sees("tcp", addrPort(ends[0].IPv4, 80), ends[2].IPv4.Addr().String())
	client.sees("tcp", "10.1.0.2:8082", "10.2.0.2")
	require.NoError(t, boxes[0].Close())
	require.NoError(t, boxes[2].Close())
	require.Equal(t, []string{"lan", "lo"}, linksOf(host))
}

// TestLeavesIsolated: the containers of an isolated network do not reach each other by leaves either, nor those of an internal one
// the host.
func TestLeavesIsolated(t *testing.T) {
	host := newMachine(t)
	filterBridged(t, host, "0")
	s := newStore(t, host)
	s.perBridge = 2
	for name, o := range map[string]*CreateOptions{"isolated": {Isolated: true}, "inner": {Internal: true}} {
		_, err := s.Create(t.Context(), name, o)
		require.NoError(t, err)
		n, err := s.Get(name)
		require.NoError(t, err)
		gateway := netip.AddrPortFrom(n.Subnets[0].Gateway, 80).String()
		var ends []Endpoint
		var machines []*machine
		for i := range 5 {
			b, m := newSandbox(t, s, fmt.Sprint(name, i))
			ends, machines = append(ends, attach(t, b, name, nil)), append(machines, m)
			require.Equal(t, i/2, ends[i].Leaf)
			m.serve(80)
		}
		stop := host.serve(80)
		for from, others := range map[int][]int{0: {1, 2}, 2: {0, 3, 4}} { // of one bridge, up; down, of one leaf, across
			var addresses []string
			for _, to := range others {
				addresses = append(addresses, addrPort(ends[to].IPv4, 80))
			}
			if o.Isolated {
				machines[from].cannotAny("tcp", addresses...)
				continue
			}
			for _, address := range addresses {
				machines[from].sees("tcp", address, ends[from].IPv4.Addr().String())
			}
		}
		if o.Isolated {
			machines[4].sees("tcp", gateway, ends[4].IPv4.Addr().String())
		} else {
			machines[4].cannot("tcp", gateway)
		}
		stop()
	}
}

// TestLeavesTakenBack: what is left of leaves when their containers die, or somebody was killed while making one, is taken back.
func TestLeavesTakenBack(t *testing.T) {
	host := newMachine(t)
	filterBridged(t, host, "0")
	s := newStore(t, host)
	s.perBridge = 1
	n, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	first, _ := newSandbox(t, s, "box")
	attach(t, first, "net", nil)
	for i := range 2 {
		_, pid, end := startBox(t)
		b, err := s.Sandbox(pid, &SandboxOptions{ID: fmt.Sprint("box", i), NoResolver: true})
		require.NoError(t, err)
		attach(t, b, "net", nil)
		b.Forget()
		end()
	}
	host.in(func() error { // half made
		attrs := netlink.NewLinkAttrs()
		attrs.Name = leafName(leafPrefix, &n, 7)
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	})
	require.ErrorContains(t, s.Check(t.Context()), "no endpoint is on it")
	require.Eventually(t, func() bool { // the kernel deletes what was in a namespace some time after its last process's end
		require.NoError(t, s.Repair(t.Context()))
		return s.Check(t.Context()) == nil && len(linksOf(host)) == 3
	}, time.Minute, 10*time.Millisecond)
	b, _ := newSandbox(t, s, "next")
	require.Equal(t, 1, attach(t, b, "net", nil).Leaf)
	require.NoError(t, b.Close())
}

// TestLeafOfAnEarlierStart: a container that is started again is on another leaf, and the one that it was alone on goes.
func TestLeafOfAnEarlierStart(t *testing.T) {
	host := newMachine(t)
	filterBridged(t, host, "0")
	s := newStore(t, host)
	s.perBridge = 1
	n, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	first, _ := newSandbox(t, s, "first")
	attach(t, first, "net", nil)
	_, pid, end := startBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{ID: "again", NoResolver: true})
	require.NoError(t, err)
	require.Equal(t, 1, attach(t, b, "net", nil).Leaf)
	b.Forget()
	end()
	require.NoError(t, first.Close())
	require.Contains(t, linksOf(host), leafName(leafPrefix, &n, 1))
	b, _ = newSandbox(t, s, "again")
	require.Zero(t, attach(t, b, "net", nil).Leaf)
	require.NotContains(t, linksOf(host), leafName(leafPrefix, &n, 1))
	require.NoError(t, s.Check(t.Context()))
}

// TestLeafSetDown: a leaf that the host's administrator set down is set up for the next container, and those that are on it stay;
// and so does one whose maker was killed half way.
func TestLeafSetDown(t *testing.T) {
	host := newMachine(t)
	filterBridged(t, host, "0")
	s := newStore(t, host)
	s.perBridge = 2
	n, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	var ends []Endpoint
	var machines []*machine
	add := func() {
		b, m := newSandbox(t, s, fmt.Sprint("box", len(ends)))
		ends, machines = append(ends, attach(t, b, "net", nil)), append(machines, m)
		m.serve(80)
	}
	seen := func() { // up, down, and beside
		for _, p := range [][2]int{{2, 0}, {0, 2}, {2, 3}} {
			machines[p[0]].sees("tcp", addrPort(ends[p[1]].IPv4, 80), ends[p[0]].IPv4.Addr().String())
		}
	}
	for range 3 {
		add()
	}
	leaf := leafName(leafPrefix, &n, 1)
	host.command("ip", "link", "set", leaf, "down")
	add()
	require.Equal(t, []int{0, 0, 1, 1}, []int{ends[0].Leaf, ends[1].Leaf, ends[2].Leaf, ends[3].Leaf})
	seen()
	require.NoError(t, s.Check(t.Context()))
	// As if somebody was killed before the pair's far end was joined to it.
	host.command("ip", "link", "set", leaf, "down")
	host.command("ip", "link", "set", leafName(stalkPrefix, &n, 1), "nomaster", "down")
	host.command("ip", "link", "set", leafName(trunkPrefix, &n, 1), "nomaster", "down")
	h, err := s.openHost()
	require.NoError(t, err)
	c, err := s.lock(t.Context())
	require.NoError(t, err)
	r := &rise{}
	bridge, err := h.up(c, &n, r)
	require.NoError(t, err)
	_, err = h.leaf(c, &n, bridge, 1, r)
	require.NoError(t, err)
	require.NoError(t, h.finish(c, r))
	c.Close()
	seen()
}

// TestLeavesFull: an error names the limit and the way out.
func TestLeavesFull(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	x, err := s.index("net")
	require.NoError(t, err)
	fill := func(by int) {
		x.mu.Lock()
		defer x.mu.Unlock()
		for leaf := range maxLeaves + 1 {
			x.leaves[leaf] += by
		}
	}
	b, _ := newSandbox(t, s, "box")
	fill(perFiltered)
	_, err = b.Attach(t.Context(), "net", nil)
	require.ErrorIs(t, err, ErrExhausted)
	require.ErrorContains(t, err, "put some on another network")
	fill(-perFiltered)
	attach(t, b, "net", nil)
}

// filterBridged has the machine filter bridged frames as packets, or not.
func filterBridged(t *testing.T, m *machine, yes string) {
	t.Helper()
	err := inside(m.ns, func() error {
		return errors.Join(writeSysctl("bridge/bridge-nf-call-iptables", yes), writeSysctl("bridge/bridge-nf-call-ip6tables", yes))
	})
	if errors.Is(err, fs.ErrNotExist) {
		if yes == "1" {
			t.Skip("needs the kernel's br_netfilter")
		}
		return
	}
	require.NoError(t, err)
}

// TestThousand: a thousand containers and more on one network, each in a network namespace of its own, and nothing left of them.
func TestThousand(t *testing.T) {
	count := 1100
	if testing.Short() {
		count = 300
	}
	host := newMachine(t)
	filterBridged(t, host, "0")
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	t.Cleanup(func() { // after those of the sandboxes, whose namespaces end with them
		require.Eventually(t, func() bool {
			require.NoError(t, s.Repair(context.Background()))
			return slices.Equal(linksOf(host), []string{"lo"})
		}, time.Minute, 10*time.Millisecond)
	})
	machines := []*machine{newMachine(t), newMachine(t)} // the first and the last
	var ends []Endpoint
	for i := range count {
		var ns *os.File
		switch i {
		case 0:
			ns = machines[0].ns
		case count - 1:
			ns = machines[1].ns
		default:
			require.NoError(t, thread.Run(func() (err error) {
				if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
					ns, err = os.Open("/proc/thread-self/ns/net")
				}
				return err
			}))
		}
		b, err := s.Sandbox(os.Getpid(), &SandboxOptions{ID: fmt.Sprint("box", i), Network: ns})
		require.NoError(t, err)
		if i > 0 && i < count-1 {
			require.NoError(t, ns.Close())
			t.Cleanup(b.Forget)
		} else {
			t.Cleanup(func() { require.NoError(t, b.Close()) })
		}
		e := attach(t, b, "net", &EndpointOptions{Names: []string{fmt.Sprint("box", i)}})
		ends = append(ends, e)
	}
	require.NotZero(t, ends[count-1].Leaf)
	for i, m := range machines {
		m.serve(80)
		to := ends[[]int{0, count - 1}[i]]
		from := ends[[]int{count - 1, 0}[i]]
		machines[1-i].sees("tcp", addrPort(to.IPv4, 80), from.IPv4.Addr().String())
	}
	require.NoError(t, s.Check(t.Context()))
	host.flushRules()
	require.NoError(t, s.Repair(t.Context()))
	require.NoError(t, s.Check(t.Context()))
}
