package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/testenv"
)

func loaded(t *testing.T, unit string) string {
	t.Helper()
	return testenv.UnitProperties(t, unit, "LoadState")["LoadState"]
}

// TestSystemdLife: the whole life of a container whose group systemd makes, with cgroupsPath in its form.
func TestSystemdLife(t *testing.T) {
	testenv.RequireSystemd(t)
	l := newLife(t)
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	unit := l.group + "-c1.scope"
	l.spec.Linux.CgroupsPath = "testscopes.slice:" + l.group + ":c1"
	memory, pids := int64(64<<20), int64(2) // fewer than the command has threads
	l.spec.Linux.Resources = &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory}, Pids: &specs.LinuxPids{Limit: &pids},
	}
	l.spec.Process.Args = []string{"/bin/sleeper"}
	l.write(t)
	l.ok(t, "--systemd-cgroup", "create", "--bundle", l.dir, "c1")
	s := l.state(t, "c1")
	group := "/testscopes.slice/" + unit
	require.Equal(t, group, testenv.SystemdGroup(t, s.Pid))

	property, file := "MemoryLimit", "memory.limit_in_bytes"
	if m.Mode() == cgroups.V2 {
		property, file = "MemoryMax", "memory.max"
	}
	read := func(name string) string {
		g, err := m.Open(group)
		require.NoError(t, err)
		defer g.Close()
		for _, dir := range g.Paths() {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				return strings.TrimSpace(string(b))
			}
		}
		return ""
	}
	look := func(bytes, pids string) {
		t.Helper()
		require.Equal(t, map[string]string{"ActiveState": "active", property: bytes, "TasksMax": pids, "Delegate": "yes",
			"Description": "minirunc container c1", "ControlGroup": group},
			testenv.UnitProperties(t, unit, "ActiveState", property, "TasksMax", "Delegate", "Description", "ControlGroup"))
		require.Equal(t, bytes, read(file))
		require.Equal(t, pids, read("pids.max"))
	}
	look("67108864", "2")
	l.ok(t, "update", "--memory", "96m", "--memory-swap", "96m", "--pids-limit", "40", "c1")
	look("100663296", "40")
	reload := func() {
		t.Helper()
		out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput()
		require.NoError(t, err, string(out))
	}
	reload()
	look("100663296", "40")
	// On v2 the limit on swap alone is systemd's, and the group's.
	if m.Mode() == cgroups.V2 {
		l.ok(t, "update", "--memory-swap", "128m", "c1")
		l.ok(t, "update", "--memory", "80m", "c1")
		reload()
		require.Equal(t, "50331648", testenv.UnitProperties(t, unit, "MemorySwapMax")["MemorySwapMax"])
		require.Equal(t, "50331648", read("memory.swap.max"))
		l.ok(t, "update", "--memory", "96m", "c1")
		look("100663296", "40")
		require.Equal(t, "33554432", testenv.UnitProperties(t, unit, "MemorySwapMax")["MemorySwapMax"])
	} else {
		require.NotContains(t, read("devices.list"), "a *:*", "systemd leaves the devices as they are")
		require.Contains(t, read("devices.list"), "c 1:3 rwm")
	}

	l.ok(t, "start", "c1")
	l.ok(t, "pause", "c1")
	require.EqualValues(t, "paused", l.state(t, "c1").Status)
	l.ok(t, "resume", "c1")
	l.ok(t, "exec", "--detach", "--pid-file", filepath.Join(l.root, "pid"), "c1", "/bin/sleeper")
	b, err := os.ReadFile(filepath.Join(l.root, "pid"))
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	require.NoError(t, err)
	require.Equal(t, group, testenv.SystemdGroup(t, pid))
	// It is this process's child, and the container's end waits for its being reaped.
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	_, err = syscall.Wait4(pid, nil, 0, nil)
	require.NoError(t, err)

	// The unit's name is taken, and another container's attempt takes nothing down.
	r := l.run(t, "--systemd-cgroup", "create", "--bundle", l.dir, "c2")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "already exists")
	require.EqualValues(t, "running", l.state(t, "c1").Status)

	l.ok(t, "delete", "--force", "c1")
	require.Equal(t, "not-found", loaded(t, unit))
	l.ok(t, "--systemd-cgroup", "create", "--bundle", l.dir, "c1")
	require.Equal(t, "loaded", loaded(t, unit))
	out, _ := exec.Command("systemctl", "kill", "-s", "KILL", unit).CombinedOutput()
	l.ok(t, "delete", "--force", "c1")
	require.Equal(t, "not-found", loaded(t, unit), string(out))

	l.spec.Linux.CgroupsPath = ""
	l.write(t)
	id := l.group
	l.ok(t, "--systemd-cgroup", "create", "--bundle", l.dir, id)
	require.Equal(t, "/system.slice/minirunc-"+id+".scope", testenv.SystemdGroup(t, l.state(t, id).Pid))
	l.ok(t, "delete", "--force", id)

	// What fails after the scope was made takes it down.
	l.spec.Process.Args = []string{"/no/such/program"}
	l.write(t)
	r = l.run(t, "--systemd-cgroup", "run", "--bundle", l.dir, id)
	require.Equal(t, 1, r.code)
	require.Equal(t, "not-found", loaded(t, "minirunc-"+id+".scope"))
}

// TestSystemdPath: cgroupsPath in another form, and a machine without systemd, are errors that say so and leave nothing.
func TestSystemdPath(t *testing.T) {
	l := newLife(t)
	r := l.run(t, "--systemd-cgroup", "create", "--bundle", l.dir, "c1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "linux.cgroupsPath")
	require.Contains(t, r.stderr, "slice:prefix:name")
	if _, err := os.Lstat("/run/systemd/private"); err != nil {
		l.spec.Linux.CgroupsPath = "system.slice:a:b"
		l.write(t)
		r = l.run(t, "--systemd-cgroup", "create", "--bundle", l.dir, "c1")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, cgroups.ErrNoSystemd.Error())
	}
	require.Empty(t, l.ok(t, "list", "-q"))
}
