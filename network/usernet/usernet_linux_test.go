package usernet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/network"
)

// programs are the helper programs that the test binary plays.
var programs = map[string]testenv.Program{
	"pause": func([]string) int { _, _ = io.Copy(io.Discard, os.Stdin); return 0 },
}

// A box is a process in a network namespace of its own, as a container's.
type box struct {
	t   testing.TB
	pid int
	ns  *os.File
	*network.Sandbox
}

// newBox makes a box whose sandbox is the store's.
func newBox(t testing.TB, s *network.Store, o network.SandboxOptions) *box {
	t.Helper()
	testenv.RequireRoot(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"pause"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ns.Close()) })
	b := &box{t: t, pid: cmd.Process.Pid, ns: ns}
	b.command("ip", "link", "set", "lo", "up")
	b.Sandbox, err = s.Sandbox(b.pid, &o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// attach attaches the box and requires success.
func (b *box) attach(name string, o *network.EndpointOptions) network.Endpoint {
	b.t.Helper()
	e, err := b.Attach(b.t.Context(), name, o)
	require.NoError(b.t, err)
	return e
}

// in runs f on a thread in the box.
func (b *box) in(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with its goroutine
		err := unix.Setns(int(b.ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (b *box) try(name string, args ...string) (string, error) {
	b.t.Helper()
	testenv.RequireCommand(b.t, name)
	var out []byte
	err := b.in(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	return string(out), err
}

func (b *box) command(name string, args ...string) string {
	b.t.Helper()
	out, err := b.try(name, args...)
	require.NoError(b.t, err, "%s %v\n%s", name, args, out)
	return out
}

// serve answers connections and datagrams with the client's address, until the test ends.
func serve(t testing.TB, in func(func() error) error, at string) {
	t.Helper()
	require.NoError(t, in(func() error {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		p, err := net.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _, _ = l.Close(), p.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, hostOf(c.RemoteAddr()))
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
				_, _ = p.WriteTo([]byte(hostOf(from)), from)
			}
		}()
		return nil
	}))
}

func hostOf(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return strings.TrimPrefix(h, "::ffff:")
}

// patience is for an answer that is not to come; one that is may take longer on a busy machine.
const patience = 700 * time.Millisecond

// ask connects and returns what serve answers.
func ask(in func(func() error) error, protocol, at string) (answer string, err error) {
	return askFor(20*patience, in, protocol, at)
}

func askFor(patience time.Duration, in func(func() error) error, protocol, at string) (answer string, err error) {
	err = in(func() error {
		c, err := net.DialTimeout(protocol, at, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, 100)
		if protocol == "udp" {
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
		}
		n, err := c.Read(b)
		answer = string(b[:n])
		return err
	})
	return answer, err
}

func here(f func() error) error { return f() }

func (b *box) sees(protocol, at, client string) {
	b.t.Helper()
	answer, err := ask(b.in, protocol, at)
	require.NoError(b.t, err, at)
	require.Equal(b.t, client, answer, at)
}

func (b *box) cannot(protocol string, at ...string) {
	b.t.Helper()
	var group sync.WaitGroup
	for _, at := range at {
		group.Go(func() {
			if answer, err := askFor(patience, b.in, protocol, at); err == nil {
				b.t.Errorf("%s answered %q", at, answer)
			}
		})
	}
	group.Wait()
}

// hostAddr gives the machine two addresses that are no loopback ones, and serves at them.
func hostAddr(t testing.TB) (a4, a6 string) {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "ip")
	n := os.Getpid() % 250
	a4, a6 = fmt.Sprintf("198.18.77.%d", n+1), fmt.Sprintf("2001:db8:77::%x", n+1)
	for _, a := range []string{a4 + "/32", a6 + "/128"} {
		out, err := exec.Command("ip", "address", "add", a, "dev", "lo", "nodad").CombinedOutput()
		if err != nil { // of IPv4 there is no nodad
			out, err = exec.Command("ip", "address", "add", a, "dev", "lo").CombinedOutput()
		}
		require.NoError(t, err, string(out))
		t.Cleanup(func() { _ = exec.Command("ip", "address", "del", a, "dev", "lo").Run() })
	}
	return a4, a6
}

func newStore(t testing.TB) *network.Store {
	t.Helper()
	s, err := network.Open(t.TempDir(), &network.Options{UserMode: New(), Pools: []network.Pool{
		{Base: netip.MustParsePrefix("10.250.0.0/16"), Bits: 24}, {Base: netip.MustParsePrefix("fd77::/48"), Bits: 64},
	}})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Check(context.Background()))
		require.NoError(t, s.Close())
	})
	return s
}

// TestUserMode: containers reach the world, the host and each other, by names, and are reached by published ports, as with a bridge.
func TestUserMode(t *testing.T) {
	a4, a6 := hostAddr(t)
	s := newStore(t)
	_, err := s.Create(t.Context(), "net", &network.CreateOptions{IPv6: true})
	require.NoError(t, err)
	serve(t, here, a4+":7001")
	serve(t, here, "["+a6+"]:7001")
	serve(t, here, "127.0.0.1:7001")
	web, db := newBox(t, s, network.SandboxOptions{ID: "web"}), newBox(t, s, network.SandboxOptions{ID: "db"})
	e := web.attach("net", &network.EndpointOptions{Names: []string{"web"}, Ports: []network.Port{
		{Container: 80, Host: 7080}, {Container: 80, Host: 7080, Protocol: "udp"},
		{Container: 80, Host: 7080, HostEnd: 7089}, {Container: 80, Host: 7080, HostEnd: 7089, Protocol: "udp"}, // whose first is taken
	}})
	require.EqualValues(t, 7081, e.Ports[2].Host)
	d := db.attach("net", &network.EndpointOptions{Names: []string{"db"}})
	require.Equal(t, "eth0", e.Interface)
	require.Contains(t, web.command("ip", "route"), "default via 10.250.0.1 dev eth0")
	for _, protocol := range []string{"tcp", "udp"} {
		web.sees(protocol, a4+":7001", a4)
		web.sees(protocol, "["+a6+"]:7001", a6)
	}
	serve(t, web.in, ":80")
	for _, protocol := range []string{"tcp", "udp"} {
		db.sees(protocol, "10.250.0.2:80", "10.250.0.3")
		db.sees(protocol, net.JoinHostPort(e.IPv6.Addr().String(), "80"), d.IPv6.Addr().String())
		answer, err := ask(here, protocol, "127.0.0.1:7080")
		require.NoError(t, err)
		require.Equal(t, "10.250.0.1", answer, "loopback is nobody's elsewhere")
		for _, to := range []string{a4 + ":7080", a4 + ":7081", "[" + a6 + "]:7080", "[" + a6 + "]:7081"} {
			answer, err = ask(here, protocol, to)
			require.NoError(t, err, to)
			require.Equal(t, strings.Trim(to[:strings.LastIndex(to, ":")], "[]"), answer, "the client's address is kept")
		}
		db.sees(protocol, a4+":7080", a4) // hairpin
		web.sees(protocol, a4+":7080", a4)
	}
	web.command("ping", "-c", "1", "-W", "2", "10.250.0.3")
	web.command("ping", "-c", "1", "-W", "2", "10.250.0.1")
	web.command("ping", "-c", "1", "-W", "2", a4)
	web.command("ping", "-c", "1", "-W", "2", a6)
	_, err = web.try("ping", "-c", "1", "-W", "1", "198.18.99.99")
	require.Error(t, err, "the stack does not answer for others")
	// The host's loopback, and what is nobody's.
	web.command("ip", "route", "add", "127.9.9.9/32", "dev", "eth0", "via", "10.250.0.1", "table", "77")
	web.cannot("tcp", "10.250.0.1:7001", "0.0.0.0:7001", "10.250.0.9:7001")
	// Names.
	require.Equal(t, "10.250.0.3\n", web.command("dig", "+short", "@10.250.0.1", "db"))
	require.Equal(t, d.IPv6.Addr().String()+"\n", web.command("dig", "+short", "+tcp", "@10.250.0.1", "db.net", "AAAA"))
	require.Equal(t, "web.net.\n", db.command("dig", "+short", "@10.250.0.1", "-x", "10.250.0.2"))
	// The host's Go code.
	c, err := db.Dial(t.Context(), "tcp", "web:80")
	require.NoError(t, err)
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Equal(t, "10.250.0.3", string(b))
	// Detached, its addresses are another's.
	require.NoError(t, db.Detach(t.Context(), "net"))
	require.NotContains(t, db.command("ip", "link"), "eth0")
	require.Equal(t, "\n", strings.TrimPrefix(web.command("dig", "+short", "@10.250.0.1", "db.net.invalid.", "+norecurse")+"\n", ";"))
	third := newBox(t, s, network.SandboxOptions{ID: "third"})
	e3 := third.attach("net", &network.EndpointOptions{IPv4: d.IPv4.Addr()})
	require.Equal(t, d.IPv4, e3.IPv4)
	third.sees("tcp", "10.250.0.2:80", "10.250.0.3")
}
