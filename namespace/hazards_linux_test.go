package namespace

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestOldKernel starts with the calls that newer kernels have answering ENOSYS.
func TestOldKernel(t *testing.T) {
	testenv.RequireRoot(t)
	if !testenv.OnOlderKernel(t, testenv.DeniedCalls(unix.SYS_MOUNT_SETATTR)) {
		return
	}
	require.Error(t, kernel.MountSetattr.Err())
	dir := testenv.NewRootfs(t, "describe")
	data := t.TempDir()
	file := filepath.Join(data, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "home"), 0o755))
	flagged := t.TempDir()
	mountTmpfs(t, flagged, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
	l := defaultLaunch(Dir(dir), "describe")
	l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: data, Target: "/data", Recursive: true, Flags: ReadOnly},
		Mount{Type: "bind", Source: file, Target: "/etc/file", Flags: ReadOnly | NoSuid, Propagation: Slave},
		Mount{Type: "bind", Source: flagged, Target: "/flagged", TopFlags: ReadOnly, TopClear: NoExec})
	l.ReadOnlyPaths = append(l.ReadOnlyPaths, "/home", "/etc/passwd")
	out, s := output(t, l)
	require.Zero(t, s.Code)
	for _, want := range []string{" /data ro,", " /etc/file ro,nosuid,", " /proc/sys ro,", " /flagged ro,nosuid,nodev,relatime",
		" /home ro,", " /etc/passwd ro,"} {
		require.Contains(t, out, want)
	}
	l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: "/", Target: "/host", Recursive: true, Flags: ReadOnly})
	l.Stdout, l.Stderr = nil, nil
	_, err := l.Start(t.Context())
	require.ErrorContains(t, err, "mount_setattr(2) needs Linux 5.12")
}

// TestSharedHost starts a container on a host whose mounts are shared, as systemd makes them: nothing that is mounted in
// the container, before or after its start, may appear on the host.
func TestSharedHost(t *testing.T) {
	testenv.RequireRoot(t)
	if !testenv.Again(t, func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		return cmd.Run()
	}) {
		return
	}
	require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
	defer func() { require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")) }()
	dir := testenv.NewRootfs(t, "mounter")
	data := t.TempDir()
	before := mountinfo(t)
	l := defaultLaunch(Dir(dir), "mounter")
	admin, err := ParseCapabilities("SYS_ADMIN")
	require.NoError(t, err)
	l.Capabilities = Capabilities{Bounding: admin, Effective: admin, Permitted: admin}
	l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: data, Target: "/data", Recursive: true})
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Equal(t, before, mountinfo(t))
}

func mountinfo(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	return string(b)
}

// mounter is a helper program that mounts wherever it can.
func mounter([]string) int {
	for _, dir := range []string{"/tmp", "/data", "/home"} {
		if err := unix.Mount("evil", dir, "tmpfs", 0, ""); err != nil {
			println(dir, err.Error())
			return 1
		}
	}
	return 0
}

// TestScriptOfStub executes a script whose interpreter is /proc/self/exe: that is the stub, which must not run its program
// again.
func TestScriptOfStub(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "describe")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin/evil"), []byte("#!/proc/self/exe\n"), 0o755))
	out, s := output(t, defaultLaunch(Dir(dir), "/bin/evil"))
	require.Empty(t, out)
	require.Equal(t, 126, s.Code)
}

// TestLeakedDirectory tries to reach the host by a descriptor that is open while the working directory is entered.
func TestLeakedDirectory(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "describe")
	host, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY, 0) // without O_CLOEXEC
	require.NoError(t, err)
	defer unix.Close(host)
	most := 64
	if testing.Short() {
		most = host + 4
	}
	for fd := range most {
		l := defaultLaunch(Dir(dir), "describe")
		l.Dir = fmt.Sprintf("/proc/self/fd/%d", fd)
		p, err := l.Start(t.Context())
		require.Error(t, err, l.Dir)
		require.Nil(t, p)
	}
}

// TestMountTargets has mount targets that lead out of the root.
func TestMountTargets(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "describe")
	outside := t.TempDir()
	data := t.TempDir()
	up := strings.Repeat("../", 20) + strings.TrimPrefix(outside, "/")
	require.NoError(t, os.Symlink(up, filepath.Join(dir, "relative")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "absolute")))
	for _, target := range []string{"/relative/a", "/absolute/b", "/relative", "/absolute"} {
		l := defaultLaunch(Dir(dir), "describe")
		l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: data, Target: target})
		p, err := l.Start(t.Context())
		if err == nil {
			_, err = p.Wait(context.Background())
			require.NoError(t, err)
			require.NoError(t, p.Close())
		}
		entries, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Empty(t, entries, target)
	}
	// /proc must be no link: masks would land elsewhere.
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "proc")))
	require.NoError(t, os.Symlink("tmp", filepath.Join(dir, "proc")))
	_, err := defaultLaunch(Dir(dir), "describe").Start(t.Context())
	require.ErrorIs(t, err, unix.ELOOP)
	require.ErrorContains(t, err, "/proc")
}

// TestChrootEscape leaves the chroot in the classic way: above it there is only the empty template.
func TestChrootEscape(t *testing.T) {
	testenv.RequireRoot(t)
	out, s := output(t, defaultLaunch(Dir(testenv.NewRootfs(t, "escape")), "escape"))
	require.Zero(t, s.Code, out)
}

// escape is a helper program that climbs out of its root and looks what is there.
func escape([]string) int {
	fail := func(err error) int { println(err.Error()); return 1 }
	if err := unix.Mkdir("/tmp/jail", 0o755); err != nil {
		return fail(err)
	}
	if err := unix.Chroot("/tmp/jail"); err != nil {
		return fail(err)
	}
	for range 64 {
		if err := unix.Chdir(".."); err != nil {
			return fail(err)
		}
	}
	if err := unix.Chroot("."); err != nil {
		return fail(err)
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return fail(err)
	}
	for _, e := range entries {
		if e.Name() != "bin" && e.Name() != "tmp" && e.Name() != "etc" && e.Name() != "proc" && e.Name() != "sys" &&
			e.Name() != "dev" && e.Name() != "root" && e.Name() != "home" {
			println("found", e.Name())
			return 1
		}
	}
	if err := os.WriteFile("/new", nil, 0o644); err == nil && len(entries) == 0 {
		println("the template is writable")
		return 1
	}
	return 0
}

// TestSignalsReset ignores and blocks signals in the host program: the container must not inherit that.
func TestSignalsReset(t *testing.T) {
	testenv.RequireRoot(t)
	if !testenv.Again(t, func(cmd *exec.Cmd) error {
		cmd.Args[0] = cmd.Path
		cmd.Path = "/bin/sh"
		cmd.Args = append([]string{"sh", "-c", `trap "" HUP USR1; exec "$@"`, "sh"}, cmd.Args...)
		return cmd.Run()
	}) {
		return
	}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	require.Contains(t, string(status), "SigIgn:\t0000000000000001")
	out, s := output(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe"))
	require.Zero(t, s.Code)
	require.Contains(t, out, "SigIgn:\t0000000000000000")
	require.Contains(t, out, "SigBlk:\t0000000000000000")
}

// TestStubFile writes the stub to a file, as on a kernel that does not execute memory files.
func TestStubFile(t *testing.T) {
	testenv.RequireRoot(t)
	l := failLaunch(t)
	dir := t.TempDir()
	p, err := l.Program()
	require.NoError(t, err)
	image, err := stubImage(p)
	require.NoError(t, err)
	fd, err := writeStubFile(image, dir)
	require.NoError(t, err)
	defer unix.Close(fd)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	_, err = writeStubFile(image, "/does/not/exist")
	require.ErrorIs(t, err, os.ErrNotExist)
	if !testenv.OnOlderKernel(t, testenv.DeniedCalls(unix.SYS_MEMFD_CREATE)) {
		return
	}
	run(t, l)
}

// TestDumpable: a start must not make the host program undumpable, or its /proc files become root's.
func TestDumpable(t *testing.T) {
	testenv.RequireRoot(t)
	// Commands that the tests start as other users, by os/exec, have done it.
	require.NoError(t, unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	l := failLaunch(t)
	l.User = User{UID: 1000, GID: 1000}
	l.Capabilities = Capabilities{}
	run(t, l)
	v, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	require.NoError(t, err)
	require.Equal(t, 1, v)
}

// TestDevNull changes the mode of standard input, which is the null device when nobody gave another: not the host's.
func TestDevNull(t *testing.T) {
	testenv.RequireRoot(t)
	before, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	for _, join := range []bool{false, true} {
		l := defaultLaunch(Dir(testenv.NewRootfs(t, "spoil", "describe")), "spoil")
		if join {
			l = joinLaunch(started(t, defaultLaunch(l.Root, "describe", "sleep")), "spoil")
		}
		out, s := output(t, l)
		require.Zero(t, s.Code, out)
		after, err := os.Stat(os.DevNull)
		require.NoError(t, err)
		require.Equal(t, before.Mode(), after.Mode())
	}
}

// spoil is a helper program.
func spoil([]string) int {
	if _, err := os.Stdin.Read(make([]byte, 1)); err != io.EOF {
		println("read:", err)
		return 1
	}
	if err := unix.Fchmod(0, 0); err == nil {
		println("changed the mode of /dev/null")
	}
	return 0
}

// TestDeathInSetUp kills the process before it executes anything: it never ran.
func TestDeathInSetUp(t *testing.T) {
	testenv.RequireRoot(t)
	l := failLaunch(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	l.Gate = r
	l.Created = func(p *Process) error { return p.Signal(syscall.SIGKILL) }
	_, err = l.Start(t.Context())
	var start *StartError
	require.ErrorAs(t, err, &start)
	require.ErrorContains(t, err, "killed by signal 9")
}

// TestPropagation mounts on the host below a bind: a slave sees it, a private mount does not.
func TestPropagation(t *testing.T) {
	testenv.RequireRoot(t)
	if !testenv.Again(t, func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		return cmd.Run()
	}) {
		return
	}
	host := t.TempDir()
	require.NoError(t, unix.Mount("host", host, "tmpfs", 0, ""))
	defer func() { require.NoError(t, unix.Unmount(host, unix.MNT_DETACH)) }()
	require.NoError(t, unix.Mount("", host, "", unix.MS_SHARED, ""))
	require.NoError(t, os.Mkdir(filepath.Join(host, "later"), 0o755))
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep")
	l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: host, Target: "/slave", Recursive: true, Propagation: Slave},
		Mount{Type: "bind", Source: host, Target: "/private", Recursive: true})
	p := started(t, l)
	require.NoError(t, unix.Mount("later", filepath.Join(host, "later"), "tmpfs", 0, ""))
	out, s := output(t, joinLaunch(p, "describe"))
	require.Zero(t, s.Code)
	require.Contains(t, out, " /slave/later ")
	require.NotContains(t, out, " /private/later ")
}
