package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// newFake detects from files in the formats of mountinfo and cgroup, in which @ stands for a temporary folder: mounts
// are directories there, made with the groups in dirs.
func newFake(t testing.TB, mountinfo, group string, dirs ...string) (*Manager, string, error) {
	t.Helper()
	base := t.TempDir()
	for _, d := range dirs {
		require.NoError(t, os.MkdirAll(filepath.Join(base, d), 0o755))
	}
	m := &Manager{anyFS: true}
	t.Cleanup(func() { _ = m.Close() })
	err := m.detect([]byte(strings.ReplaceAll(mountinfo, "@", base)), []byte(group))
	return m, base, err
}

// line is a line of mountinfo.
func line(root, point, options, kind, super string) string {
	return fmt.Sprintf("31 30 0:28 %s @/%s %s shared:1 - %s none %s\n", root, point, options, kind, super)
}

func TestDetectCoMounted(t *testing.T) {
	m, base, err := newFake(t,
		line("/", "cpu,cpuacct", "rw", "cgroup", "rw,cpuacct,cpu")+line("/", "memory", "rw", "cgroup", "rw,memory")+
			line("/", "systemd", "rw", "cgroup", "rw,xattr,name=systemd")+line("/", "unified", "rw", "cgroup2", "rw"),
		"3:cpu,cpuacct:/a\n2:memory:/a/b\n1:name=systemd:/s\n0::/u\n",
		"cpu,cpuacct/a", "memory/a/b", "systemd/s", "unified/u")
	require.NoError(t, err)
	require.Equal(t, Hybrid, m.Mode())
	require.Equal(t, []string{"cpu", "cpuacct", "memory"}, m.Controllers())
	require.Same(t, m.controllers["cpu"], m.controllers["cpuacct"])
	g, err := m.Create("g", &Resources{AllDevices: true})
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, []string{base + "/cpu,cpuacct/a/g", base + "/memory/a/b/g", base + "/systemd/s/g",
		base + "/unified/u/g"}, g.Paths())
	require.NoError(t, g.Remove())
	for _, path := range g.Paths() {
		require.NoDirExists(t, path)
	}
}

func TestDetectV1(t *testing.T) {
	m, _, err := newFake(t, line("/", "pids", "rw", "cgroup", "rw,pids"), "1:pids:/\n2:cpu:/\n", "pids")
	require.NoError(t, err)
	require.Equal(t, V1, m.Mode())
	_, err = m.Create("g", &Resources{CPUShares: 5, AllDevices: true})
	var re *ResourceError
	require.ErrorAs(t, err, &re)
	require.Equal(t, "CPUShares", re.Field)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "not mounted")
}

func TestDetectV2(t *testing.T) {
	m, _, err := newFake(t,
		line("/", "x", "rw", "cgroup2", "rw")+line("/", "systemd", "rw", "cgroup", "rw,name=systemd"),
		"1:name=systemd:/\n0::/a\n", "x/a", "systemd")
	require.NoError(t, err)
	require.Equal(t, V2, m.Mode())
	require.Len(t, m.hierarchies, 1)
}

// TestDetectPartOf is what a container without a cgroup namespace sees: its own group as the mount's root.
func TestDetectPartOf(t *testing.T) {
	m, base, err := newFake(t, line("/docker/c", "memory", "rw", "cgroup", "rw,memory"), "1:memory:/docker/c/in\n",
		"memory/in")
	require.NoError(t, err)
	r := &Resources{AllDevices: true}
	g, err := m.Create("g", r)
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, []string{base + "/memory/in/g"}, g.Paths())
	g2, err := m.Create("/docker/c/h", r)
	require.NoError(t, err)
	defer g2.Close()
	require.Equal(t, []string{base + "/memory/h"}, g2.Paths())
	_, err = m.Create("/elsewhere", r)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "/docker/c")
}

// TestDetectNamespace: a mount made in the namespace above, of a group above ours.
func TestDetectNamespace(t *testing.T) {
	_, _, err := newFake(t, line("/..", "x", "rw", "cgroup2", "rw"), "0::/\n", "x")
	require.ErrorIs(t, err, ErrNotMounted)
	m, _, err := newFake(t, line("/..", "x", "rw", "cgroup2", "rw"), "0::/../sibling\n", "x/sibling")
	require.NoError(t, err)
	require.Equal(t, V2, m.Mode())
	_, _, err = newFake(t, line("/", "x", "rw", "cgroup2", "rw"), "0::/../sibling\n", "x/sibling")
	require.ErrorIs(t, err, ErrNotMounted)
}

func TestDetectReadOnly(t *testing.T) {
	// The options of the mount and those of the file system both count; a second, writable mount is preferred.
	for _, l := range []string{line("/", "x", "ro,nosuid", "cgroup2", "rw"), line("/", "x", "rw", "cgroup2", "ro")} {
		_, _, err := newFake(t, l, "0::/\n", "x")
		require.ErrorIs(t, err, ErrNotDelegated)
		require.ErrorIs(t, err, fs.ErrPermission)
		m, base, err := newFake(t, l+line("/", "y", "rw", "cgroup2", "rw"), "0::/\n", "x", "y")
		require.NoError(t, err)
		require.Equal(t, base+"/y", m.unified.path)
	}
	m, _, err := newFake(t, line("/", "cpu", "ro", "cgroup", "rw,cpu")+line("/", "pids", "rw", "cgroup", "rw,pids"),
		"1:cpu:/\n2:pids:/\n", "cpu", "pids")
	require.NoError(t, err)
	_, err = m.Create("g", &Resources{CPUQuota: DefaultCPUPeriod, AllDevices: true})
	require.ErrorIs(t, err, ErrNotDelegated)
	require.ErrorContains(t, err, "CPUQuota")
	require.ErrorContains(t, err, "read-only")
}

func TestDetectNothing(t *testing.T) {
	for _, c := range [][2]string{{"", ""}, {"", "0::/\n"}, {line("/", "x", "rw", "cgroup2", "rw"), "0::/gone\n"},
		{line("/", "s", "rw", "cgroup", "rw,name=systemd"), "1:name=systemd:/\n"}} {
		_, _, err := newFake(t, c[0], c[1], "x", "s")
		require.ErrorIs(t, err, ErrNotMounted, c)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// TestDetectHidden: something else is mounted over the hierarchy.
func TestDetectHidden(t *testing.T) {
	m := &Manager{}
	defer m.Close()
	dir := t.TempDir()
	err := m.detect([]byte("31 30 0:28 / "+dir+" rw - cgroup2 none rw\n"), []byte("0::/\n"))
	require.ErrorIs(t, err, ErrNotMounted)
	require.ErrorContains(t, err, "hides")
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), []byte("1:cpu:/\n"))
	f.Add([]byte("31 30 0:28 /.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n"), []byte("0::/../a\n"))
	f.Fuzz(func(t *testing.T, mountinfo, group []byte) {
		m := &Manager{}
		if err := m.detect(mountinfo, group); err == nil && m.Mode() == 0 {
			t.Fatal("no mode and no error")
		}
		_ = m.Close()
	})
}
