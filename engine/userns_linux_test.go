package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() {
	// The template for user namespaces is made once.
	testenv.Lazy("template for user namespaces", func() error {
		dir, err := os.MkdirTemp("", "warm-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c := container.New(namespace.Dir(dir), "/nothing")
		c.NoCgroup = true
		c.UIDMappings = []container.IDMapping{{HostID: 700000, Size: 65536}}
		c.GIDMappings = c.UIDMappings
		_ = c.Run(context.Background())
		return nil
	})
}

func owner(t *testing.T, name string) [2]uint32 {
	t.Helper()
	var st syscall.Stat_t
	require.NoError(t, syscall.Lstat(name, &st), name)
	return [2]uint32{st.Uid, st.Gid}
}

// TestUserMode runs containers in user namespaces of their own: root in them is nobody on the host, and yet what they have and
// make, in their root, a volume and a bind, belongs on disk to whom it belongs without one.
func TestUserMode(t *testing.T) {
	testenv.RequireKernel(t, 5, 19)
	e := newEngine(t)
	image := pullBusybox(t, e)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	bind := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bind, "root"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(bind, "app"), nil, 0o600))
	require.NoError(t, os.Chown(filepath.Join(bind, "app"), 1000, 1000))

	cfg := &Config{
		Image: image, Name: "mapped", Dir: "/made/by/start", Isolation: Isolation{UserMode: "auto"},
		Mounts: []Mount{{Type: "volume", Source: "vol", Target: "/etc"}, {Type: "bind", Source: bind, Target: "/bind"},
			{Type: "image", Source: image, Target: "/image"}, {Type: "tmpfs", Target: "/tmp"}},
		Command: []string{"sh", "-c", `cat /proc/self/uid_map; id -u; pwd; stat -c %u:%g /bin /made/by/start /etc/passwd /etc/hosts \
			/bind/root /bind/app /image/bin /tmp; touch /bind/new /etc/new /new /tmp/new && chown 1000:1000 /bind/new /etc/new /new &&
			echo 127.0.0.9 added >>/etc/hosts; stat -c %u:%g /new /bind/new /etc/new`},
	}
	var out bytes.Buffer
	c, err := e.Run(t.Context(), cfg, &StartOptions{Stdout: &out, Stderr: &out})
	require.NoError(t, err, out.String())
	first := c.UIDMappings[0].HostID
	lines := strings.Split(out.String(), "\n")
	require.Equal(t, c.UIDMappings[0].String(), strings.Join(strings.Fields(lines[0]), " "))
	require.NotZero(t, first)
	require.Equal(t, []string{"0", "/made/by/start", "0:0", "0:0", "0:0", "0:0", "0:0", "1000:1000", "0:0", "0:0",
		"1000:1000", "1000:1000", "1000:1000", ""}, lines[1:])
	v, err := e.volumes.Get("vol")
	require.NoError(t, err)
	for _, name := range []string{filepath.Join(bind, "new"), filepath.Join(v.Path, "new"), e.path(c.ID, "upper", "new")} {
		require.Equal(t, [2]uint32{1000, 1000}, owner(t, name))
	}
	for _, name := range []string{v.Path, filepath.Join(v.Path, "passwd"), e.path(c.ID, "upper", "made", "by", "start")} {
		require.Equal(t, [2]uint32{0, 0}, owner(t, name))
	}
	require.NoError(t, e.Remove(t.Context(), "mapped", nil))
	require.NoError(t, e.RemoveVolume(t.Context(), "vol"))
}

// TestUserModeDetached: what enters a container later, commands and copied files, has its ids, though others have been granted
// since.
func TestUserModeDetached(t *testing.T) {
	testenv.RequireKernel(t, 5, 19)
	e := newEngine(t)
	pullBusybox(t, e)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	c := detached(t, e, &Config{Isolation: Isolation{UserMode: "remap"}}, "sleep 60")
	testenv.GrantSubordinateIDs(t, "caisson", 900000)
	require.Equal(t, [2]uint32{c.UIDMappings[0].HostID, c.GIDMappings[0].HostID}, owner(t, procOf(t, e, c)))

	send := func(uid int) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "sent/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: uid, Gid: uid}))
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "sent/f", Typeflag: tar.TypeReg, Mode: 0o600, Uid: uid, Gid: uid}))
		require.NoError(t, w.Close())
		require.NoError(t, e.CopyTo(t.Context(), c.ID, "/", &b, &CopyOptions{Owners: uid != 0}))
	}
	sent := func() (all []int) {
		var b bytes.Buffer
		require.NoError(t, e.CopyFrom(t.Context(), c.ID, "/sent", &b))
		for r := tar.NewReader(&b); ; {
			h, err := r.Next()
			if err == io.EOF {
				return all
			}
			require.NoError(t, err)
			all = append(all, h.Uid, h.Gid)
		}
	}
	r, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	command := func() string {
		out, err := r.Process().Command("sh", "-c", "id -u; stat -c %u:%g /sent /sent/f").CombinedOutput(t.Context())
		require.NoError(t, err, string(out))
		return string(out)
	}
	send(0)
	require.Equal(t, "0\n0:0\n0:0\n", command())
	send(1000)
	require.Equal(t, "0\n1000:1000\n1000:1000\n", command())
	require.Equal(t, []int{1000, 1000, 1000, 1000}, sent())
	require.NoError(t, r.Leave())
	require.NoError(t, e.Stop(t.Context(), c.ID, 0))

	// Of one that does not run, too.
	send(0)
	require.Equal(t, [2]uint32{0, 0}, owner(t, e.path(c.ID, "upper", "sent", "f")))
	require.Equal(t, []int{1000, 1000, 0, 0}, sent(), "the folder was there")
	again(t, e, c)
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
}

func procOf(t *testing.T, e *Engine, c *Container) string {
	t.Helper()
	c, err := e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.NotZero(t, c.State.Pid)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		// Until it has executed its command, it is not dumpable and belongs to root.
		if b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.State.Pid), "comm")); err != nil || string(b) != "sh\n" {
			continue
		}
		break
	}
	return filepath.Join("/proc", strconv.Itoa(c.State.Pid))
}

func TestUserModeRefused(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	for want, cfg := range map[string]*Config{
		"keep-id is for an ordinary user's program":                   {Isolation: Isolation{UserMode: "keep-id"}},
		"invalid user namespace mode: nomap":                          {Isolation: Isolation{UserMode: "nomap"}},
		"privileged mode is incompatible":                             {Isolation: Isolation{UserMode: "auto"}, Privileged: true},
		"the host's network is incompatible":                          {Isolation: Isolation{UserMode: "auto"}, Network: "host"},
		"the host's PID namespace is incompatible":                    {Isolation: Isolation{UserMode: "auto", PIDMode: "host"}},
		"check User.UID: the id 70000, the process's user, is not in": {Isolation: Isolation{UserMode: "auto"}, User: "70000"},
	} {
		cfg.Image, cfg.Command = image, []string{"true"}
		_, err := e.Run(t.Context(), cfg, nil)
		require.ErrorContains(t, err, want)
		if strings.HasPrefix(want, "check") {
			continue
		}
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	// Nobody has been granted any.
	c := &Container{Config: Config{Isolation: Isolation{UserMode: "host"}}}
	require.NoError(t, c.mapUsers())
	require.Nil(t, c.idMap())
	require.Nil(t, c.ownerInside())

	c.UIDMappings = []container.IDMapping{{ContainerID: 0, HostID: 100, Size: 10}}
	c.GIDMappings = []container.IDMapping{{ContainerID: 0, HostID: 200, Size: 10}}
	for in, want := range map[[2]int][2]int{{100, 200}: {0, 0}, {109, 210}: {9, 65534}, {-1, 1 << 40}: {65534, 65534}} {
		uid, gid := c.ownerInside()(in[0], in[1])
		require.Equal(t, want, [2]int{uid, gid})
	}
	for in, want := range map[[2]int][2]int{{0, 9}: {100, 209}, {10, -1}: {nowhere, nowhere}} {
		uid, gid := c.ownerOutside()(in[0], in[1])
		require.Equal(t, want, [2]int{uid, gid})
	}
	require.ErrorContains(t, namespace.AsOwner(5, 5, func() error { return fs.ErrExist }), "exist")
}
