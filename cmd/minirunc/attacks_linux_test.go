package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// TestMaskedPathBySymlink: an image cannot turn a mask elsewhere, nor keep what is masked in sight under another name
// (CVE-2025-31133, CVE-2019-19921 and others of the kind).
func TestMaskedPathBySymlink(t *testing.T) {
	m := newMade(t, "cat", "/secret/file", "/secret/link")
	rootfs := m.spec.Root.Path
	require.NoError(t, os.Mkdir(filepath.Join(rootfs, "secret"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(rootfs, "secret/file"), []byte("in sight"), 0o644))
	require.NoError(t, os.Symlink("file", filepath.Join(rootfs, "secret/link")))
	m.spec.Linux.MaskedPaths = append(m.spec.Linux.MaskedPaths, "/secret/link", "/etc/out")
	// A mask is of the host's file only if the link leads out of the root.
	host := filepath.Join(t.TempDir(), "host")
	require.NoError(t, os.WriteFile(host, []byte("host"), 0o644))
	require.NoError(t, os.Symlink(host, filepath.Join(rootfs, "etc/out")))
	m.write()
	for _, hooks := range []*specs.Hooks{nil, {CreateRuntime: []specs.Hook{{Path: "/bin/true"}}}} {
		m.spec.Hooks = hooks
		m.write()
		require.Empty(t, m.ok("run", "c"))
		b, err := os.ReadFile(host)
		require.NoError(t, err)
		require.Equal(t, "host", string(b))
	}
}

// TestNullOfTheImage: without a tmpfs at /dev it is the image's, whose null may be anything: what is no null masks nothing.
func TestNullOfTheImage(t *testing.T) {
	m := newMade(t, "cat", "/proc/keys")
	m.spec.Mounts = append(m.spec.Mounts[:1:1], m.spec.Mounts[3:]...)
	m.spec.Linux.MaskedPaths = []string{"/proc/keys"}
	m.write()
	require.Empty(t, m.ok("run", "c"), "nodes are made in the image's own /dev")
	null := filepath.Join(m.spec.Root.Path, "dev/null")
	require.NoError(t, os.Remove(null))
	require.NoError(t, os.Symlink("/proc/sys/kernel/core_pattern", null))
	m.fails(1, "/dev/null", "run", "c")
	require.NoError(t, os.Remove(null))
	require.NoError(t, os.WriteFile(null, nil, 0o666))
	m.fails(1, "/dev/null", "run", "c")
	require.Empty(t, m.left())
}

// TestDevicesBySymlink: a folder of the image's that is a link to the host does not make nodes there.
func TestDevicesBySymlink(t *testing.T) {
	m := newMade(t, "exit", "0")
	host := t.TempDir()
	require.NoError(t, os.Symlink(host, filepath.Join(m.spec.Root.Path, "out")))
	m.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/out/x/null", Type: "c", Major: 1, Minor: 3}, {Path: "/out/zero", Type: "c", Major: 1, Minor: 5}}
	for _, hooks := range []*specs.Hooks{nil, {CreateRuntime: []specs.Hook{{Path: "/bin/true"}}}} {
		m.spec.Hooks = hooks
		m.write()
		_ = m.do("run", "c").run()
		left, err := os.ReadDir(host)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// TestWorkingDirectoryOutside: no descriptor of the runtime's leads out (CVE-2024-21626).
func TestWorkingDirectoryOutside(t *testing.T) {
	m := newMade(t, "ids")
	for fd := 3; fd < 20; fd++ {
		m.spec.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd)
		m.write()
		d := m.do("run", "c")
		require.Equal(t, 1, d.run(), "%s: %s", m.spec.Process.Cwd, d.stdout.String())
		require.Contains(t, d.stderr.String(), "cwd")
	}
	m.spec.Process.Args, m.spec.Process.Cwd = []string{"probe", "sleep"}, "/"
	m.write()
	m.ok("run", "-d", "c")
	for fd := 3; fd < 20; fd++ {
		d := m.do("exec", "--cwd", fmt.Sprintf("/proc/self/fd/%d", fd), "c", "probe", "ids")
		require.Equal(t, 255, d.run(), "%d: %s", fd, d.stdout.String())
	}
}

// TestSelfExe: the command /proc/self/exe is not the runtime (CVE-2019-5736), by name or as an interpreter.
func TestSelfExe(t *testing.T) {
	m := newMade(t)
	script := filepath.Join(m.spec.Root.Path, "bin/script")
	require.NoError(t, os.WriteFile(script, []byte("#!/proc/self/exe\n"), 0o755))
	self, err := os.Executable()
	require.NoError(t, err)
	before, err := os.Stat(self)
	require.NoError(t, err)
	for _, command := range []string{"/proc/self/exe", "/bin/script"} {
		m.spec.Process.Args = []string{command, "state", "c"}
		m.write()
		d := m.do("run", "c")
		require.NotZero(t, d.run(), command)
		require.NotContains(t, d.stdout.String(), "ociVersion")
		require.Empty(t, m.left())
	}
	m.spec.Process.Args = []string{"probe", "sleep"}
	m.write()
	m.ok("run", "-d", "c")
	for _, command := range []string{"/proc/self/exe", "/bin/script"} {
		require.NotZero(t, m.do("exec", "c", command).run())
	}
	after, err := os.Stat(self)
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
}

// TestMountBySymlink: what is mounted at a link of the image's is mounted inside, and never over proc.
func TestMountBySymlink(t *testing.T) {
	m := newMade(t, "cat", "/proc/self/mountinfo")
	rootfs, volume := m.spec.Root.Path, t.TempDir()
	require.NoError(t, os.Symlink("/tmp", filepath.Join(rootfs, "data")))
	require.NoError(t, os.Symlink("/proc/self", filepath.Join(rootfs, "bad")))
	m.spec.Mounts = append(m.spec.Mounts, specs.Mount{Destination: "/data", Source: volume, Type: "bind", Options: []string{"bind", "ro"}})
	m.write()
	require.Contains(t, m.ok("run", "c"), " /tmp ro,")
	m.spec.Mounts[len(m.spec.Mounts)-1].Destination = "/bad/attr"
	m.write()
	d := m.do("run", "c")
	require.Equal(t, 1, d.run())
	require.True(t, strings.Contains(d.stderr.String(), "/bad/attr"), d.stderr.String())
}

// TestStartHookIsContained: what a startContainer hook executes is a file of the image's, and gets no more than the
// container's process has.
func TestStartHookIsContained(t *testing.T) {
	m := newMade(t, "cat", "/tmp/hook")
	tmp := filepath.Join(m.spec.Root.Path, "tmp")
	require.NoError(t, os.MkdirAll(tmp, 0o777))
	require.NoError(t, os.Chmod(tmp, 0o777))
	m.spec.Process.User = specs.User{UID: 1000, GID: 1001}
	m.spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{
		Names: []string{"swapon"}, Action: specs.ActErrno,
	}}}
	m.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{
		Path: "/bin/probe", Args: []string{"probe", "copy", "/proc/self/status", "/tmp/hook"},
	}}}
	m.write()
	out := m.ok("run", "c")
	for _, line := range []string{
		"Uid:\t1000\t1000", "Gid:\t1001\t1001", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000021", "NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		require.Contains(t, out, line)
	}
}

// TestConsoleBySymlink: an image whose /dev/console is a link has the terminal mounted over nothing else (CVE-2025-52565).
func TestConsoleBySymlink(t *testing.T) {
	m := newMade(t, "cat", "/proc/self/mountinfo")
	m.spec.Process.Terminal = true
	m.spec.Mounts = append(m.spec.Mounts[:1:1], m.spec.Mounts[2:]...) // /dev is the image's
	dev := filepath.Join(m.spec.Root.Path, "dev")
	require.NoError(t, os.MkdirAll(filepath.Join(dev, "pts"), 0o755))
	m.write()
	require.Regexp(t, ` /dev/console \S+ (\S+ )*- devpts `, m.ok("run", "c"))
	for _, link := range []string{"/proc/sys/kernel/core_pattern", "../proc/sysrq-trigger", "/etc/passwd"} {
		_ = os.Remove(filepath.Join(dev, "console"))
		require.NoError(t, os.Symlink(link, filepath.Join(dev, "console")))
		m.write()
		d := m.do("run", "c")
		if d.run() != 0 {
			require.Contains(t, d.stderr.String(), "/dev/console")
		}
		require.NotRegexp(t, ` /(proc/\S+|etc/passwd) \S+ (\S+ )*- devpts `, d.stdout.String())
		require.Empty(t, m.left())
	}
}

// TestSysctlOfFakeProc: parameters are written to the kernel's proc, or not at all (CVE-2025-52881): not to what is mounted in its place, nor
// where a link there leads.
func TestSysctlOfFakeProc(t *testing.T) {
	m := newMade(t, "cat", "/real/sys/kernel/msgmax", "/real/sys/kernel/msgmnb")
	fake := t.TempDir()
	file := filepath.Join(fake, "sys/kernel/msgmax")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	m.spec.Linux.Sysctl = map[string]string{"kernel.msgmax": "9999"}
	m.spec.Linux.MaskedPaths, m.spec.Linux.ReadonlyPaths = nil, nil
	m.spec.Mounts = append(m.spec.Mounts, specs.Mount{Destination: "/real", Type: "proc", Source: "proc"})
	m.write()
	right := m.ok("run", "c")
	require.Equal(t, 1, strings.Count(right, "9999"))
	m.spec.Mounts = append(m.spec.Mounts, specs.Mount{Destination: "/proc", Type: "bind", Source: fake, Options: []string{"bind"}}) // over the other one
	m.write()
	for _, place := range []func() error{
		func() error { return os.WriteFile(file, []byte("mine"), 0o644) },
		func() error { return os.Symlink("/real/sys/kernel/msgmnb", file) },
	} {
		require.NoError(t, place())
		if d := m.do("run", "c"); d.run() == 0 {
			require.Equal(t, right, d.stdout.String())
		}
		require.Empty(t, m.left())
		b, err := os.ReadFile(file)
		require.True(t, err != nil || string(b) == "mine", "%s", b)
		require.NoError(t, os.Remove(file))
	}
}
