package namespace

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestNested starts a container from a container.
func TestNested(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "nested")
	inner := filepath.Join(dir, "inner")
	for _, d := range []string{"bin", "proc", "sys", "dev"} {
		require.NoError(t, os.MkdirAll(filepath.Join(inner, d), 0o755))
	}
	require.NoError(t, os.Link(filepath.Join(dir, "bin/nested"), filepath.Join(inner, "bin/describe")))
	l := defaultLaunch(Dir(dir), "nested")
	all, err := ParseCapabilities("ALL")
	require.NoError(t, err)
	all &= ownCapabilities(t)
	l.Capabilities = Capabilities{Bounding: all, Effective: all, Permitted: all}
	l.MaskedPaths, l.ReadOnlyPaths = nil, nil
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Contains(t, out, "hostname box\npid 1\n")
	require.NotContains(t, out, "pid 2\n")
}

func nested([]string) int {
	l := defaultLaunch(Dir("/inner"), "describe")
	l.Stdout, l.Stderr = os.Stdout, os.Stderr
	p, err := l.Start(context.Background())
	if err != nil {
		println(err.Error())
		return 1
	}
	s, err := p.Wait(context.Background())
	if err != nil {
		println(err.Error())
		return 1
	}
	return s.Code
}

// ownCapabilities are those that the tests run with.
func ownCapabilities(t *testing.T) CapabilitySet {
	var set CapabilitySet
	for c := range LastCapability() + 1 {
		if v, _ := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); v == 1 {
			set.Add(c)
		}
	}
	require.NotZero(t, set)
	return set
}

// TestHostNamespaces shares the host's namespaces, one at a time and all.
func TestHostNamespaces(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "namespaces")
	host := Namespace{Host: true}
	own := func(kind string) string {
		l, err := os.Readlink("/proc/self/ns/" + kind)
		require.NoError(t, err)
		return l
	}
	cases := map[string]Namespaces{
		"none": {}, "pid": {PID: host}, "net": {Network: host}, "ipc": {IPC: host}, "uts": {UTS: host}, "cgroup": {Cgroup: host},
	}
	for shared, n := range cases {
		l := defaultLaunch(Dir(dir), "namespaces")
		l.Namespaces = n
		if shared == "uts" {
			l.Hostname = ""
		}
		out, s := output(t, l)
		require.Zero(t, s.Code, out)
		for _, kind := range []string{"pid", "net", "ipc", "uts", "cgroup", "mnt"} {
			if line := own(kind) + "\n"; kind == shared {
				require.Contains(t, out, line)
			} else {
				require.NotContains(t, out, line, "%s with %s shared", kind, shared)
			}
		}
	}
	l := &Launch{
		Args:       []string{filepath.Join(dir, "bin/namespaces")},
		Namespaces: Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host},
	}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	for _, kind := range []string{"pid", "net", "ipc", "uts", "cgroup", "mnt"} {
		require.Contains(t, out, own(kind)+"\n")
	}
}

// TestJoinByPath joins a namespace by its file.
func TestJoinByPath(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "namespaces", "describe")
	p := started(t, defaultLaunch(Dir(dir), "describe", "sleep"))
	for kind, set := range map[string]func(*Namespaces, Namespace){
		"net": func(n *Namespaces, x Namespace) { n.Network = x }, "ipc": func(n *Namespaces, x Namespace) { n.IPC = x },
		"pid": func(n *Namespaces, x Namespace) { n.PID = x }, "uts": func(n *Namespaces, x Namespace) { n.UTS = x },
	} {
		f, err := os.Open(filepath.Join("/proc", strconv.Itoa(p.Pid()), "ns", kind))
		require.NoError(t, err)
		want, err := os.Readlink(f.Name())
		require.NoError(t, err)
		l := defaultLaunch(Dir(dir), "namespaces")
		l.Hostname = ""
		set(&l.Namespaces, Namespace{Join: f})
		out, s := output(t, l)
		require.NoError(t, f.Close())
		require.Zero(t, s.Code, out)
		require.Contains(t, out, want+"\n")
	}
}

// namespaces is a helper program that prints its namespaces.
func namespaces([]string) int {
	for _, kind := range []string{"pid", "net", "ipc", "uts", "cgroup", "mnt"} {
		l, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			println(err.Error())
			return 1
		}
		println(l)
	}
	return 0
}
