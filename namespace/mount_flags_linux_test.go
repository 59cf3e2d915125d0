package namespace

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mountTmpfs mounts a tmpfs on the host for the time of the test.
func mountTmpfs(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, unix.Mount("test", dir, "tmpfs", flags, "size=1m"))
	require.NoError(t, unix.Mount("", dir, "", unix.MS_PRIVATE, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// mountTable are the lines of a container's mountinfo by target: options and, with a blank between, the optional fields.
func mountTable(t *testing.T, l *Launch) map[string]string {
	t.Helper()
	l.Args = []string{"describe"}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	table := make(map[string]string)
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 9 && strings.Contains(line, " - ") {
			optional, _, _ := strings.Cut(strings.Join(f[6:], " "), "-")
			kind, _, _ := strings.Cut(strings.TrimSpace(optional), ":")
			table[f[4]] = strings.TrimSpace(f[5] + " " + kind)
		}
	}
	return table
}

// TestBindFlags: what holds for the mount, what for those below it, and what is taken away.
func TestBindFlags(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	dir := testenv.NewRootfs(t, "describe")
	data := t.TempDir()
	mountTmpfs(t, data, unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NOATIME)
	mountTmpfs(t, filepath.Join(data, "below"), unix.MS_NODEV)
	bind := func(target string, options ...string) Mount {
		m := Mount{Source: data, Target: target}
		require.NoError(t, m.SetOptions(options...))
		return m
	}
	l := defaultLaunch(Dir(dir), "describe")
	l.Mounts = append(l.Mounts,
		bind("/plain", "rbind"), bind("/ro", "rbind", "ro"), bind("/rro", "rbind", "rro"), bind("/alone", "bind", "rro"),
		bind("/cleared", "rbind", "suid", "exec", "relatime"), bind("/rcleared", "rbind", "rexec", "rdev", "rsuid", "ratime"),
		bind("/both", "rbind", "rro", "rw", "nodiratime", "nosymfollow"), bind("/shared", "rbind", "shared"),
		bind("/unbindable", "rbind", "runbindable", "rstrictatime"))
	table := mountTable(t, l)
	for target, want := range map[string]string{
		"/plain": "rw,nosuid,noexec,noatime", "/plain/below": "rw,nodev,relatime",
		"/ro": "ro,nosuid,noexec,noatime", "/ro/below": "rw,nodev,relatime",
		"/rro": "ro,nosuid,noexec,noatime", "/rro/below": "ro,nodev,relatime",
		"/alone": "ro,nosuid,noexec,noatime", "/alone/below": "",
		"/cleared": "rw,relatime", "/cleared/below": "rw,nodev,relatime",
		"/rcleared": "rw,relatime", "/rcleared/below": "rw,relatime",
		"/both": "rw,nosuid,noexec,noatime,nodiratime,nosymfollow", "/both/below": "ro,nodev,relatime",
		"/shared": "rw,nosuid,noexec,noatime shared", "/shared/below": "rw,nodev,relatime shared",
		"/unbindable": "rw,nosuid,noexec unbindable", "/unbindable/below": "rw,nodev unbindable",
	} {
		require.Equal(t, want, table[target], target)
	}
}

func TestRootPropagation(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "describe")
	mountTmpfs(t, filepath.Join(dir, "below"), 0)
	for p, want := range map[Propagation]string{
		Private: "rw,relatime", Slave: "rw,relatime master", Shared: "rw,relatime shared", Unbindable: "rw,relatime unbindable",
	} {
		l := defaultLaunch(Dir(dir), "describe")
		l.RootPropagation = p
		// A peer of the host's is a slave of it; that it is none with another kind of propagation the tests of hazards show.
		shared := p == Slave
		if shared {
			require.NoError(t, unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""))
			require.NoError(t, unix.Mount("", dir, "", unix.MS_REC|unix.MS_PRIVATE, "")) // no peer of what is below it
			require.NoError(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
		}
		table := mountTable(t, l)
		if shared {
			require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))
		}
		require.Equal(t, want, strings.Replace(table["/"], ",noatime", ",relatime", 1), p)
		if p != Slave { // which holds for it too, if the host shares it
			require.Equal(t, "rw,relatime", table["/below"], p)
		}
	}
}

// TestReadOnlyDev: /dev becomes read-only when it is full.
func TestReadOnlyDev(t *testing.T) {
	testenv.RequireRoot(t)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "describe", "try")), "try")
	for i := range l.Mounts {
		if l.Mounts[i].Type == "dev" {
			l.Mounts[i].TopFlags = ReadOnly
		}
	}
	tries(t, l, "write:/dev/null ok", "write:/dev/file EROFS", "write:/dev/shm/file ok")
	require.Contains(t, mountTable(t, l)["/dev"], "ro,nosuid")
}

// TestMaskedPathsElsewhere masks paths of the image, through symbolic links that lead out of it if they are followed on the
// host.
func TestMaskedPathsElsewhere(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "try")
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "file"), []byte("host"), 0o644))
	for _, d := range []string{"secret/below", "keep", "real" + outside} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret/file"), []byte("x"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keep/file"), []byte("x"), 0o644))
	require.NoError(t, os.Symlink("../../secret", filepath.Join(dir, "keep/up")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	l := defaultLaunch(Dir(dir), "try")
	l.MaskedPaths = append(l.MaskedPaths, "/keep/up/file", "/secret/below", "/out/file", "/etc/passwd/nothing")
	l.ReadOnlyPaths = append(l.ReadOnlyPaths, "/keep/up/../keep", "/nothing/here")
	l.ReadOnlyPaths[len(l.ReadOnlyPaths)-2] = "/keep"
	tries(t, l, "write:/keep/file EROFS", "write:/secret/below/x EROFS", "read:/keep/file ok", "write:/secret/other ok")
	l.Args = []string{"try", "size:/secret/file", "size:/keep/file"}
	out, _ := output(t, l)
	require.Equal(t, "size:/secret/file 0\nsize:/keep/file 1\n", out)
	b, err := os.ReadFile(filepath.Join(outside, "file"))
	require.NoError(t, err)
	require.Equal(t, "host", string(b))
}

// TestCopyUp fills a tmpfs with what the image has, behind a link that leads out of the root if the host follows it.
func TestCopyUp(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "try", "describe")
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "host"), nil, 0o644))
	real := filepath.Join(dir, outside)
	require.NoError(t, os.MkdirAll(filepath.Join(real, "a/b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(real, "a/b/file"), []byte("content"), 0o640))
	require.NoError(t, os.Chown(filepath.Join(real, "a/b/file"), 7, 8))
	require.NoError(t, os.Chmod(filepath.Join(real, "a"), 0o711))
	require.NoError(t, os.Chmod(real, 0o750|os.ModeSticky))
	require.NoError(t, os.Chown(real, 5, 6))
	require.NoError(t, os.Symlink("/etc/shadow", filepath.Join(real, "link")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(real, "fifo"), 0o600))
	capability := []byte("\x01\x00\x00\x02\x00\x04\x00\x00" + strings.Repeat("\x00", 12)) // CAP_NET_BIND_SERVICE
	require.NoError(t, unix.Lsetxattr(filepath.Join(real, "a/b/file"), "security.capability", capability, 0))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "var")))
	l := defaultLaunch(Dir(dir), "try")
	l.Mounts = append(l.Mounts, Mount{Type: "tmpfs", Target: "/var", CopyUp: true, Data: "size=1m", Flags: NoExec | ReadOnly},
		Mount{Type: "tmpfs", Target: "/empty", CopyUp: true})
	tries(t, l, "read:/var/a/b/file ok", "read:/var/host ENOENT", "write:/var/new EROFS", "write:/empty/new ok")
	l.Args = []string{"try", "stat:/var/.", "stat:/var/a", "stat:/var/a/b/file", "stat:/var/link", "stat:/var/fifo",
		"size:/var/a/b/file", "xattr:/var/a/b/file"}
	out, _ := output(t, l)
	require.Equal(t, strings.Join([]string{
		"stat:/var/. 41750 5 6", "stat:/var/a 40711 0 0", "stat:/var/a/b/file 100640 7 8", "stat:/var/link 120777 0 0",
		"stat:/var/fifo 10600 0 0", "size:/var/a/b/file 7", "xattr:/var/a/b/file 20",
	}, "\n")+"\n", out)
	require.NoFileExists(t, filepath.Join(real, "new"))

	l.Mounts[len(l.Mounts)-2].Data = "size=4k,mode=700,uid=9"
	l.Args = []string{"try", "stat:" + outside}
	out, _ = output(t, l)
	require.Equal(t, "stat:"+outside+" 40700 9 6\n", out)
	require.NoError(t, os.WriteFile(filepath.Join(real, "big"), make([]byte, 1<<20), 0o644))
	l.Stdout, l.Stderr = nil, nil
	_, err := l.Start(t.Context())
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, "/var")
	l.Mounts[len(l.Mounts)-2].Type = "proc"
	_, err = l.Start(t.Context())
	require.ErrorContains(t, err, "only a tmpfs")
}
