package network

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/thread"
)

// programs are the helper programs that the test binary plays.
var programs = map[string]testenv.Program{
	"churn":     churn,
	"rival":     rival,
	"publisher": publisher,
	"pause":     func([]string) int { _, _ = io.Copy(io.Discard, os.Stdin); return 0 },
}

// A machine is a network namespace that plays a host.
type machine struct {
	t  testing.TB
	ns *os.File
}

// newMachine makes a machine with loopback only, which ends with the test.
func newMachine(t testing.TB) *machine {
	t.Helper()
	testenv.RequireRoot(t)
	m := &machine{t: t}
	require.NoError(t, thread.Run(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			m.ns, err = os.Open("/proc/thread-self/ns/net")
		}
		return err
	}))
	t.Cleanup(func() { require.NoError(t, m.ns.Close()) })
	m.in(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return m
}

func (m *machine) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.ns.Fd()) }

// in runs f on a thread on the machine.
func (m *machine) in(f func() error) {
	m.t.Helper()
	require.NoError(m.t, inside(m.ns, f))
}

// command runs a command on the machine and returns what it prints.
func (m *machine) command(name string, args ...string) string {
	m.t.Helper()
	out, err := m.try(name, args...)
	require.NoError(m.t, err, "%s %v\n%s", name, args, out)
	return out
}

func (m *machine) try(name string, args ...string) (out string, err error) {
	m.t.Helper()
	testenv.RequireCommand(m.t, name)
	e := inside(m.ns, func() error {
		var b []byte
		b, err = exec.Command(name, args...).CombinedOutput()
		out = string(b)
		return nil
	})
	require.NoError(m.t, e)
	return out, err
}

// cable connects two machines: each gets an interface with an address.
func cable(a, b *machine, name string, addrA, addrB string) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	a.in(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(b.ns.Fd())})
	})
	for _, end := range []struct {
		m    *machine
		addr string
	}{{a, addrA}, {b, addrB}} {
		end.m.in(func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			// Without a link-local address, for which others are asked first, nothing is forwarded.
			err = writeSysctl("ipv6/conf/"+name+"/accept_dad", "0")
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for _, text := range strings.Split(end.addr, ",") {
				addr, err := netlink.ParseAddr(text)
				if err != nil {
					return err
				}
				if err := netlink.AddrAdd(l, addr); err != nil {
					return err
				}
			}
			return netlink.LinkSetUp(l)
		})
	}
}

// flushRules deletes all of the machine's rules, as nft flush ruleset does.
func (m *machine) flushRules() {
	m.t.Helper()
	m.in(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		conn.FlushRuleset()
		return conn.Flush()
	})
}

// route adds a route on the machine.
func (m *machine) route(to, via string) {
	m.t.Helper()
	m.in(func() error {
		p := netip.MustParsePrefix(to)
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(p), Gw: netip.MustParseAddr(via).AsSlice()})
	})
}

// serve answers each connection of TCP to the port with the client's address and a newline, and each datagram alike.
// Its sockets keep the machine's namespace until stop is called, or the test ends.
func (m *machine) serve(port int) (stop func()) {
	m.t.Helper()
	m.in(func() error {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		p, err := net.ListenPacket("udp", ":"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		stop = func() { _, _ = l.Close(), p.Close() }
		m.t.Cleanup(stop)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprintln(c, ipOf(c.RemoteAddr()))
				_ = c.Close()
			}
		}()
		go func() {
			b := make([]byte, 2000)
			for {
				_, from, err := p.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = p.WriteTo([]byte(ipOf(from)+"\n"), from)
			}
		}()
		return nil
	})
	return stop
}

func ipOf(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

// ask connects from the machine, and returns what serve answers, or the error when it has waited for so long. A datagram that has no
// answer is sent again.
func (m *machine) ask(network, address string, wait time.Duration) (answer string, err error) {
	m.t.Helper()
	e := inside(m.ns, func() error {
		end := time.Now().Add(wait)
		var c net.Conn
		if c, err = net.DialTimeout(network, address, wait); err != nil {
			return nil
		}
		defer c.Close()
		if err = c.SetDeadline(end); err != nil {
			return nil
		}
		var b []byte
		if network == "udp" {
			b, err = askPacket(c, end)
		} else {
			b, err = io.ReadAll(c)
		}
		answer = strings.TrimSpace(string(b))
		return nil
	})
	require.NoError(m.t, e)
	return answer, err
}

func askPacket(c net.Conn, end time.Time) ([]byte, error) {
	b := make([]byte, 100)
	for {
		if _, err := c.Write([]byte("?")); err != nil {
			return nil, err
		}
		again := time.Now().Add(patience)
		if again.After(end) {
			again = end
		}
		if err := c.SetReadDeadline(again); err != nil {
			return nil, err
		}
		n, err := c.Read(b)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(end) {
			return b[:n], err
		}
	}
}

const (
	// dropped is how long what is dropped is waited for.
	dropped = 300 * time.Millisecond
	// patience is how long a datagram's answer is waited for before it is sent again.
	patience = 700 * time.Millisecond
	// enough is how long what comes is waited for: a packet that is lost is sent again after a second at the earliest.
	enough = 20 * time.Second
)

// sees requires that serve at the address sees the client as given.
func (m *machine) sees(network, address, client string) {
	m.t.Helper()
	answer, err := m.ask(network, address, enough)
	require.NoError(m.t, err)
	require.Equal(m.t, client, answer)
}

// cannot requires that nothing at the address can be reached.
func (m *machine) cannot(network, address string) {
	m.t.Helper()
	answer, err := m.ask(network, address, dropped)
	require.Error(m.t, err, "%s answered %q", address, answer)
}

// newBox starts a process in a network namespace of its own, as a container's.
func newBox(t testing.TB) (m *machine, pid int) {
	t.Helper()
	m, pid, _ = startBox(t)
	return m, pid
}

// startBox is newBox with a function that ends the process and forgets the namespace.
func startBox(t testing.TB) (m *machine, pid int, end func()) {
	t.Helper()
	testenv.RequireRoot(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"pause"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	end = func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if m != nil {
			_ = m.ns.Close()
		}
	}
	t.Cleanup(end)
	ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "ns/net"))
	require.NoError(t, err)
	m = &machine{t, ns}
	m.in(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return m, cmd.Process.Pid, end
}

// newStore opens a store whose host is the machine, and checks when the test ends that nothing is left on it.
func newStore(t testing.TB, on *machine) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), &Options{Namespace: on.path(), Table: "caisson"})
	require.NoError(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			require.NoError(t, s.Check(t.Context()))
		}
		require.NoError(t, s.Close())
	})
	return s
}

// newSandbox makes a sandbox of a new process and closes it when the test ends.
func newSandbox(t testing.TB, s *Store, id string) (*Sandbox, *machine) {
	t.Helper()
	m, pid := newBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{ID: id})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b, m
}

// attach attaches and requires success.
func attach(t testing.TB, b *Sandbox, network string, o *EndpointOptions) Endpoint {
	t.Helper()
	e, err := b.Attach(t.Context(), network, o)
	require.NoError(t, err)
	return e
}
