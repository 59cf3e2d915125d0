package container_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/container"
)

// escapeByVolumeOnProc: a volume that an image asks for covers /proc, or part of it, by a symbolic link of the image's: labels
// and parameters are written into the image's files, and masks miss.
func escapeByVolumeOnProc(t *testing.T) {
	volume := t.TempDir()
	for _, link := range []string{"/proc", "../../proc/", "proc/self/attr", "/proc/sys/kernel", "/proc/self/../bus", "/sys/firmware/.."} {
		c := attacker(t, "proc")
		require.NoError(t, os.Symlink(link, filepath.Join(c.Root.String(), "data")))
		c.Mounts = []container.Mount{container.Bind(volume, "/data")}
		requireRefused(t, c, "/data")
	}
}

// requireRefused: the start fails since links lead where they must not, and says at which mount.
func requireRefused(t *testing.T, c *container.Container, target string) {
	t.Helper()
	err := c.Run(t.Context())
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, syscall.ELOOP)
	require.Contains(t, start.Path, target)
}

// escapeBySharedVolume: /proc is a link into a volume that another container changes meanwhile.
func escapeBySharedVolume(t *testing.T) {
	volume := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(volume, "proc/sys"), 0o755))
	require.NoError(t, os.Symlink("proc", filepath.Join(volume, "other")))
	swapper := exchanger(t, volume, "/volume/proc", "/volume/other")
	template := newContainer(t)
	root := template.Root.String()
	require.NoError(t, os.RemoveAll(filepath.Join(root, "proc")))
	require.NoError(t, os.Symlink("volume/proc", filepath.Join(root, "proc")))
	for range rounds() {
		c := newContainerIn(t, template, "attack", "proc")
		c.Mounts = []container.Mount{container.Bind(volume, "/volume")}
		requireRefused(t, c, "/proc")
	}
	swapper()
}

// exchanger starts a container that swaps two names in a volume, which is at /volume, until the function is called.
func exchanger(t *testing.T, volume, a, b string) (stop func()) {
	c := attacker(t, "exchange", a, b)
	c.Mounts = []container.Mount{container.Bind(volume, "/volume")}
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out := ready(t, c)
	return func() {
		require.NoError(t, in.Close())
		said, err := io.ReadAll(out)
		require.NoError(t, err)
		require.Equal(t, "held\n", string(said), "the exchange ended before the race")
	}
}

// raceForTarget starts containers with a mount below a folder of a shared volume that is exchanged for a link to a folder of
// the host, which must stay as it is, and nothing be mounted there.
func raceForTarget(t *testing.T, target string) {
	outside, volume, data := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, "evil"), nil, 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(volume, "a/there"), 0o755))
	links := map[string]string{"absolute": outside, "relative": strings.Repeat("../", 30) + strings.TrimPrefix(outside, "/")}
	for name, link := range links {
		require.NoError(t, os.Symlink(link, filepath.Join(volume, name)))
	}
	for name := range links {
		stop := exchanger(t, volume, "/volume/a", "/volume/"+name)
		template := newContainer(t)
		ran := 0
		for range rounds() {
			c := newContainerIn(t, template, "read", "/proc/self/mountinfo")
			c.Mounts = []container.Mount{container.Bind(volume, "/volume"), container.Bind(data, target)}
			out, err := c.Output(t.Context())
			if err == nil {
				ran++
				require.Contains(t, string(out), " / /")
			}
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Empty(t, entries, "reached by the link %s", name)
		}
		stop()
		t.Logf("%s link: %d of %d started", name, ran, rounds())
		if err := os.RemoveAll(filepath.Join(volume, "a/new")); err != nil { // by now either may be the link
			require.ErrorIs(t, err, unix.ENOTDIR)
		}
		if st, err := os.Lstat(filepath.Join(volume, "a")); err == nil && st.Mode()&os.ModeSymlink != 0 {
			require.NoError(t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(volume, "a"), unix.AT_FDCWD,
				filepath.Join(volume, name), unix.RENAME_EXCHANGE))
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(b), outside)
}

func escapeByExchangedTarget(t *testing.T) { raceForTarget(t, "/volume/a/there") }

// escapeByMissingTarget: the same where the target has to be made.
func escapeByMissingTarget(t *testing.T) { raceForTarget(t, "/volume/a/new/deep/er") }

// linked replaces a folder of the image's by a link or a file, and wants every start refused, with nothing made elsewhere.
func linked(t *testing.T, name string) {
	outside := t.TempDir()
	for what, spoil := range map[string]func(place string) error{
		"absolute": func(p string) error { return os.Symlink(outside, p) },
		"relative": func(p string) error {
			return os.Symlink(strings.Repeat("../", 30)+strings.TrimPrefix(outside, "/"), p)
		},
		"inside":   func(p string) error { return os.Symlink("tmp", p) },
		"dangling": func(p string) error { return os.Symlink("none", p) },
		"loop":     func(p string) error { return os.Symlink(name, p) },
		"file":     func(p string) error { return os.WriteFile(p, nil, 0o644) },
	} {
		for _, tty := range []bool{false, true} {
			c := attacker(t, "proc")
			place := filepath.Join(c.Root.String(), name)
			require.NoError(t, os.RemoveAll(place))
			require.NoError(t, spoil(place))
			c.TTY = tty
			var start *container.StartError
			require.ErrorAs(t, c.Run(t.Context()), &start, what)
			require.Contains(t, start.Path, "/"+name)
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Empty(t, entries)
			entries, err = os.ReadDir(filepath.Join(c.Root.String(), "tmp"))
			require.NoError(t, err)
			require.Empty(t, entries)
		}
	}
}

func escapeByLinkedProc(t *testing.T) { linked(t, "proc") }
func escapeByLinkedSys(t *testing.T)  { linked(t, "sys") }
func escapeByLinkedDev(t *testing.T)  { linked(t, "dev") }

// escapeByDevNull: the /dev/null that covers masked paths is something else, by the image or by a volume.
func escapeByDevNull(t *testing.T) {
	hostile := func(dir string) {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for _, name := range []string{"null", "zero", "tty"} {
			require.NoError(t, os.Symlink("/proc/sys/kernel/core_pattern", filepath.Join(dir, name)))
		}
	}
	c := attacker(t, "proc")
	hostile(filepath.Join(c.Root.String(), "dev"))
	requireHeld(t, c)

	volume := t.TempDir()
	hostile(volume)
	for _, target := range []string{"/dev", "/dev/null"} {
		c = attacker(t, "proc")
		c.Mounts = []container.Mount{container.Bind(volume, target)}
		if target == "/dev/null" { // a file, as it has to be
			c.Mounts[0].Source = filepath.Join(t.TempDir(), "null")
			require.NoError(t, os.WriteFile(c.Mounts[0].Source, []byte("not empty"), 0o644))
		}
		out, err := c.CombinedOutput(t.Context())
		if err == nil {
			require.Equal(t, "held\n", string(out), target)
			continue
		}
		var start *container.StartError
		require.ErrorAs(t, err, &start, "%s: %s", target, out)
	}
}

// escapeByRedirectedSysctl: a volume covers part of /proc/sys, and a link in it leads the writing of a parameter to another
// file.
func escapeByRedirectedSysctl(t *testing.T) {
	volume := t.TempDir()
	victim := filepath.Join(volume, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("as it was"), 0o644))
	require.NoError(t, os.Symlink("victim", filepath.Join(volume, "ip_forward")))
	for _, link := range []string{"/proc/sys/net/ipv4", "proc/sys/net/core/../ipv4"} {
		c := attacker(t, "proc")
		require.NoError(t, os.Symlink(link, filepath.Join(c.Root.String(), "data")))
		c.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
		c.Mounts = []container.Mount{container.Bind(volume, "/data")}
		requireRefused(t, c, "/data")
		b, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.Equal(t, "as it was", string(b))
	}
}

// escapeByCorePattern: the program that the host executes for a core dump is set.
func escapeByCorePattern(t *testing.T) {
	before, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	for _, name := range []string{
		"kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern", "net.ipv4/../../kernel/core_pattern",
		"net.../kernel.core_pattern", "/kernel/core_pattern", "fs.mqueue./../kernel/core_pattern",
	} {
		c := newContainer(t, "echo")
		c.Sysctls = map[string]string{name: "|/tmp/evil"}
		var start *container.StartError
		require.ErrorAs(t, c.Run(t.Context()), &start, name)
		require.Equal(t, "check", start.Step)
	}
	requireHeld(t, attacker(t, "write", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
		"/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled"))
	after, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// escapeByChroot: a chroot is left. Above it is the template, which is empty.
func escapeByChroot(t *testing.T) {
	host := filepath.Join(t.TempDir(), "of-the-host")
	require.NoError(t, os.WriteFile(host, nil, 0o644))
	requireHeld(t, attacker(t, "chroot", host))
	c := attacker(t, "chroot", host)
	c.CapAdd, c.NoSeccomp = []string{"SYS_ADMIN"}, true
	requireHeld(t, c)
}
