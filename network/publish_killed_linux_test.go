package network

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// publisher is a helper program: it publishes a port of a sandbox and is killed when it first asks the kernel to change something for it.
func publisher(args []string) int {
	err := func() error {
		s, err := Open(args[1], &Options{Namespace: args[2], Table: "caisson"})
		if err != nil {
			return err
		}
		pid, _ := strconv.Atoi(args[3])
		b, err := s.Sandbox(pid, &SandboxOptions{ID: "box", NoResolver: true})
		if err != nil {
			return err
		}
		if err := killedAtSend(); err != nil {
			return err
		}
		_, err = b.Publish(context.Background(), "net", []Port{{Host: 8080, Container: 80}})
		return err
	}()
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}

// killedAtSend has the kernel kill this process when it sends something by a socket.
func killedAtSend() error {
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}
	jump := func(nr uint32, to uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: to}
	}
	filter := []unix.SockFilter{
		load, jump(unix.SYS_SENDTO, 2), jump(unix.SYS_SENDMSG, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}, {Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, no := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if no != 0 {
		return os.NewSyscallError("seccomp", no)
	}
	return nil
}

// hairpin tells whether the machine's port of a bridge passes frames back.
func (m *machine) hairpin(name string) (yes bool) {
	m.t.Helper()
	m.in(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		p, err := netlink.LinkGetProtinfo(l)
		yes = p.Hairpin
		return err
	})
	return yes
}

// TestPublishKilled: who is killed when the document tells of a port and the rules do not yet leaves it to the next one, be that one who opens
// the folder or who changes something and had it open.
func TestPublishKilled(t *testing.T) {
	for _, next := range []string{"opens", "attaches", "detaches"} {
		t.Run(next, func(t *testing.T) {
			host, _, client := world(t)
			filterBridged(t, host, "1")
			s := newStore(t, host)
			_, err := s.Create(t.Context(), "net", nil)
			require.NoError(t, err)
			m, pid := newBox(t)
			b, err := s.Sandbox(pid, &SandboxOptions{ID: "box"})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			m.serve(80)
			e := attach(t, b, "net", nil)
			other, _ := newSandbox(t, s, "other")
			attach(t, other, "net", nil)

			cmd := exec.Command("/proc/self/exe", s.docs.Dir, host.path(), strconv.Itoa(pid))
			cmd.Args[0], cmd.Stderr = "publisher", os.Stderr
			require.Equal(t, unix.SIGSYS, endOf(cmd))
			document, err := os.ReadFile(s.path("net", endpointsName, e.ID+".json"))
			require.NoError(t, err)
			require.Contains(t, string(document), "8080")
			require.ErrorContains(t, s.Check(t.Context()), "network net: somebody was killed who changed its endpoints")
			client.cannot("tcp", "10.1.0.2:8080")

			switch next {
			case "opens":
				again, err := Open(s.docs.Dir, &Options{Namespace: host.path(), Table: "caisson"})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, again.Close()) })
			case "attaches":
				third, _ := newSandbox(t, s, "third")
				attach(t, third, "net", nil)
			case "detaches":
				require.NoError(t, other.Close())
			}
			require.NoError(t, s.Check(t.Context()))
			require.True(t, host.hairpin(e.HostInterface))
			client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
			require.False(t, torn(t, s))
			all, err := b.Endpoints()
			require.NoError(t, err)
			require.Len(t, all[0].Ports, 1)
		})
	}
}

func endOf(cmd *exec.Cmd) unix.Signal {
	_ = cmd.Run()
	return cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal()
}

// another is what another process would have of the store.
func another(t *testing.T, host *machine, s *Store) *Store {
	t.Helper()
	o, err := Open(s.docs.Dir, &Options{Namespace: host.path(), Table: "caisson"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close()) })
	return o
}

func torn(t *testing.T, s *Store) bool {
	x, err := s.index("net")
	require.NoError(t, err)
	return x.torn()
}

// TestPublishUndone: when a step of it fails all is as it was, and what others know of it too; when none does they see it.
func TestPublishUndone(t *testing.T) {
	host := newMachine(t)
	filterBridged(t, host, "1")
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	other := another(t, host, s)
	b, _ := newSandbox(t, s, "box")
	e := attach(t, b, "net", nil)
	seen := func() Endpoint {
		all, err := other.Endpoints("net")
		require.NoError(t, err)
		require.Len(t, all, 1)
		return all[0]
	}
	require.Equal(t, e, seen())
	ports := []Port{{Protocol: "tcp", Host: 8080, Container: 80}}
	h, err := s.openHost()
	require.NoError(t, err)
	kept := h.rules.fd
	var elsewhere *netlink.Handle // where there is no such interface
	newMachine(t).in(func() (err error) {
		elsewhere, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	defer elsewhere.Close()
	for step, f := range map[string]func() (undo func()){
		"change nftables": func() func() { h.rules.fd = -1; return func() { h.rules.fd = kept } },
		"let " + e.HostInterface + " reach itself": func() func() {
			link := h.link
			h.link = elsewhere
			return func() { h.link = link }
		},
		"endpoints/.tmp-": func() func() { // the document
			tmp := s.path("net", endpointsName, ".tmp-"+e.ID)
			require.NoError(t, os.Mkdir(tmp, 0o700))
			return func() { _ = os.Remove(tmp) }
		},
	} {
		undo := f()
		_, err := b.Publish(t.Context(), "net", ports)
		undo()
		require.ErrorContains(t, err, step)
		require.False(t, host.hairpin(e.HostInterface), step)
		require.Equal(t, e, seen(), step)
		require.False(t, torn(t, s), step)
		require.NoError(t, s.Check(t.Context()), step)
		r, err := s.Reserve(ports)
		require.NoError(t, err, step)
		r.Close()
	}
	_, err = b.Publish(t.Context(), "net", ports)
	require.NoError(t, err)
	require.True(t, host.hairpin(e.HostInterface))
	require.Equal(t, ports, seen().Ports)
	require.NoError(t, other.Release(t.Context(), "box"))
	require.NoError(t, s.Check(t.Context()), "nothing is left in the rules")
}

// TestReadMeanwhile: what another process reads while it is being changed it reads again.
func TestReadMeanwhile(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	other := another(t, host, s)
	b, _ := newSandbox(t, s, "box")
	e := attach(t, b, "net", nil)
	x, err := s.index("net")
	require.NoError(t, err)
	done, err := s.changing("net", x, true)
	require.NoError(t, err)
	all, err := other.Endpoints("net")
	require.NoError(t, err)
	require.Equal(t, e, all[0])
	changed := e
	changed.Names = []string{"new"}
	require.NoError(t, s.writeEndpoint(x, &changed))
	done()
	all, err = other.Endpoints("net")
	require.NoError(t, err)
	require.Equal(t, changed, all[0])
}
