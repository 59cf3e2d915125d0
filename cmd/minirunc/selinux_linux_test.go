package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestSELinux: process.selinuxLabel, linux.mountLabel and exec's --process-label are what the policy is enforced by.
func TestSELinux(t *testing.T) {
	testenv.EnforceSELinux(t)
	m := newMade(t, "cat", "/proc/self/attr/current")
	m.spec.Mounts = append(m.spec.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs"},
		specs.Mount{Destination: "/dev/shm", Type: "tmpfs"}, specs.Mount{Destination: "/dev/mqueue", Type: "mqueue"})
	text := func(s string) string { return strings.Trim(s, "\x00\n") }
	m.write()
	require.Equal(t, testenv.SELinuxHost, text(m.ok("run", "c")))
	m.spec.Process.SelinuxLabel, m.spec.Linux.MountLabel = testenv.SELinuxProcess, testenv.SELinuxFile
	m.write()
	require.Equal(t, testenv.SELinuxProcess, text(m.ok("run", "c")))

	m.spec.Process.Args = []string{"probe", "sleep"}
	m.write()
	m.ok("create", "c")
	m.ok("start", "c")
	state := m.ok("state", "c")
	_, rest, _ := strings.Cut(state, `"pid": `)
	number, _, _ := strings.Cut(rest, ",")
	pid, err := strconv.Atoi(strings.TrimSpace(number))
	require.NoError(t, err, state)
	for _, path := range []string{"/tmp", "/dev", "/dev/null", "/dev/pts/ptmx", "/dev/shm", "/dev/mqueue"} {
		b := make([]byte, 256)
		n, err := syscall.Getxattr(filepath.Join("/proc", strconv.Itoa(pid), "root", path), "security.selinux", b)
		require.NoError(t, err, path)
		require.Equal(t, testenv.SELinuxFile, text(string(b[:n])), path)
	}
	cat := []string{"probe", "cat", "/proc/self/attr/current"}
	write := []string{"probe", "copy", "/etc/passwd", "/tmp/file"}
	exec := func(label string, args ...string) []string {
		return append([]string{"exec", "--process-label", label, "c"}, args...)
	}
	other := strings.Replace(testenv.SELinuxProcess, "c1", "c2", 1)
	require.Equal(t, testenv.SELinuxProcess, text(m.ok(append([]string{"exec", "c"}, cat...)...)))
	require.Equal(t, other, text(m.ok(exec(other, cat...)...)))
	m.ok(append([]string{"exec", "c"}, write...)...)
	m.fails(99, "permission denied", "exec", "c", "probe", "copy", "/etc/passwd", "/etc/group")
	m.fails(99, "permission denied", exec(other, write...)...)
	m.fails(255, "is no context of the policy", exec("u:r:nothing_t:s0", cat...)...)
	m.ok("delete", "--force", "c")

	for field, set := range map[string]func(string){
		"process.selinuxLabel": func(s string) { m.spec.Process.SelinuxLabel = s },
		"linux.mountLabel":     func(s string) { m.spec.Linux.MountLabel = s },
	} {
		m.spec.Process.SelinuxLabel, m.spec.Linux.MountLabel = testenv.SELinuxProcess, testenv.SELinuxFile
		set("u:r:nothing_t:s0")
		m.write()
		m.fails(1, field, "create", "c")
		require.Empty(t, m.left())
	}
}
