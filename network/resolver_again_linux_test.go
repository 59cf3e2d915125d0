package network

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestResolverAgain: a resolver takes the place of an earlier one in the same namespace, and that of a table of whatever kind
// that has its name.
func TestResolverAgain(t *testing.T) {
	testenv.RequireCommand(t, "nft")
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	m, pid := newBox(t)
	for _, before := range []string{
		"", "delete table ip caisson-dns; add table ip caisson-dns { chain questions { type nat hook output priority 0; drop; }; }",
		"flush chain ip caisson-dns answers", "add rule netdev caisson-dns questions drop", "add chain ip caisson-dns other",
		"delete table ip caisson-dns", "delete table netdev caisson-dns",
	} {
		if before != "" {
			m.command("nft", before)
		}
		b, err := s.Sandbox(pid, &SandboxOptions{ID: "box"})
		require.NoError(t, err)
		e := attach(t, b, "net", &EndpointOptions{Names: []string{"box"}})
		require.Equal(t, e.IPv4.Addr().String()+"\n", m.dig("box"), before)
		require.Equal(t, e.IPv4.Addr().String()+"\n", m.dig("+tcp", "box"), before)
		require.Equal(t, 3, strings.Count(m.command("nft", "list", "chain", "netdev", "caisson-dns", "questions"), "dport set"))
		require.NoError(t, b.Close())
	}
}

// TestResolverTracksNothing: the resolver's port costs the sandbox's other connections nothing; beside rules of the container's own that
// track and translate it is reached too, also by datagrams without a checksum, and when it is gone the sender hears of it.
func TestResolverTracksNothing(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	m, pid := newBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{ID: "box"})
	require.NoError(t, err)
	query := []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03box\x00\x00\x01\x00\x01")
	ask := func(network string, option int) (answer []byte, err error) {
		m.in(func() error {
			d := net.Dialer{Timeout: enough, Control: func(_, _ string, c syscall.RawConn) (err error) {
				if option != 0 {
					e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1) })
					err = errors.Join(e, err)
				}
				return err
			}}
			var c net.Conn
			if c, err = d.Dial(network, "127.0.0.11:53"); err != nil {
				return nil
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(enough))
			if network == "tcp" {
				if err = writeMessage(c, query); err == nil {
					answer, err = readMessage(c)
				}
				return nil
			}
			if _, err = c.Write(query); err != nil {
				return nil
			}
			answer = make([]byte, 512)
			var n int
			n, err = c.Read(answer)
			answer = answer[:n]
			return nil
		})
		return answer, err
	}
	e := attach(t, b, "net", &EndpointOptions{Names: []string{"box"}})
	answered := func() {
		for _, way := range []struct {
			network string
			option  int
		}{{"tcp", 0}, {"udp", 0}, {"udp", unix.SO_NO_CHECK}} {
			answer, err := ask(way.network, way.option)
			require.NoError(t, err, way)
			require.True(t, bytes.HasSuffix(answer, e.IPv4.Addr().AsSlice()), "%v %q", way, answer)
		}
	}
	answered()
	tracked := func() string {
		text := m.command("cat", "/proc/sys/net/netfilter/nf_conntrack_count")
		return strings.TrimSpace(text)
	}
	require.Equal(t, "0", tracked())
	_, noTool := exec.LookPath("nft")
	strict := func(in, out string) {
		m.command("nft", `add table ip own; add chain ip own nat { type nat hook output priority -100; };
			add chain ip own in { type filter hook input priority 0; }; add rule ip own in `+in+`;
			add chain ip own out { type filter hook output priority 0; policy drop; }; add rule ip own out `+out)
		answered()
		require.NotEqual(t, "0", tracked())
		m.command("nft", "delete", "table", "ip", "own")
	}
	if noTool == nil {
		strict("ct state invalid drop", "ct state new,established accept")
		// Port 53 is what they see, of questions and of answers.
		strict("ct state new,established accept", "ct state new meta l4proto { tcp, udp } th dport 53 accept; add rule ip own out ct state established accept")
	}
	b.Forget()
	for _, network := range []string{"tcp", "udp"} {
		_, err := ask(network, 0)
		require.ErrorIs(t, err, unix.ECONNREFUSED, network)
	}
	// A kernel whose loopback interface can have no chain.
	b, err = s.Sandbox(pid, &SandboxOptions{ID: "box"})
	require.NoError(t, err)
	require.NoError(t, b.Serve(t.Context()))
	m.in(func() error {
		fd, err := openNetfilter()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		tx, err := encode(func(c *nftables.Conn) error {
			c.DelTable(&nftables.Table{Name: "caisson-dns", Family: nftables.TableFamilyNetdev})
			return nil
		})
		if err != nil {
			return err
		}
		return errors.Join(tx.commit(fd), b.resolver.rewrite(fd, redirection{anew: true, output: true}))
	})
	answered()
	if noTool == nil {
		strict("ct state invalid drop", "ct state new,established accept")
	}
	b.Forget()
	for _, network := range []string{"tcp", "udp"} {
		_, err := ask(network, 0)
		require.ErrorIs(t, err, unix.ECONNREFUSED, network)
	}
	b, err = s.Sandbox(pid, &SandboxOptions{ID: "box"})
	require.NoError(t, err)
	require.NoError(t, b.Close())
}

// TestParameters: kernel parameters are set by a mount of proc of their own, and by the machine's where there is none.
func TestParameters(t *testing.T) {
	m := newMachine(t)
	m.in(func() error {
		own := openParameters()
		defer own.close()
		require.GreaterOrEqual(t, own.fd, 0)
		for i, p := range []*parameters{own, {-1}} {
			value := string(rune('0' + i))
			require.NoError(t, p.set("ipv4/conf/lo/forwarding", value))
			require.Equal(t, value+"\n", m.command("cat", "/proc/sys/net/ipv4/conf/lo/forwarding"))
			err := p.set("ipv4/conf/nosuch/forwarding", "1")
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.ErrorContains(t, err, "set kernel parameter: write /proc/sys/net/ipv4/conf/nosuch/forwarding: ")
		}
		return nil
	})
}

// TestNoAddressOutside: the host's end of a pair has no address of IPv6, not even one of its link.
func TestNoAddressOutside(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	b, _ := newSandbox(t, s, "box")
	e := attach(t, b, "net", nil)
	host.in(func() error {
		l, err := netlink.LinkByName(e.HostInterface)
		require.NoError(t, err)
		require.EqualValues(t, netlink.OperUp, l.Attrs().OperState)
		addrs, err := netlink.AddrList(l, nl.FAMILY_V6)
		require.Empty(t, addrs)
		return err
	})
}

// TestReadHalfWay: an endpoint that another process read while it was being attached is read again.
func TestReadHalfWay(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	other := another(t, host, s)
	b, _ := newSandbox(t, s, "box")
	e := attach(t, b, "net", nil)
	x, err := s.index("net")
	require.NoError(t, err)
	whole, half := e, e
	half.Interface = ""
	require.NoError(t, s.keepEndpoint(x, &half))
	all, err := other.Endpoints("net")
	require.NoError(t, err)
	require.Empty(t, all[0].Interface)
	require.NoError(t, s.keepEndpoint(x, &whole))
	all, err = other.Endpoints("net")
	require.NoError(t, err)
	require.Equal(t, "eth0", all[0].Interface)
	// That was a guess, and the name was taken.
	whole.Interface = "eth1"
	require.NoError(t, s.keepEndpoint(x, &whole))
	all, err = other.Endpoints("net")
	require.NoError(t, err)
	require.Equal(t, "eth1", all[0].Interface)
	whole.Interface = "eth0"
	require.NoError(t, s.keepEndpoint(x, &whole))
}
