package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/volume"
)

// blockDevice makes a file system on a block device of the host.
func blockDevice(t *testing.T, kind string, mib int64) string {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "mkfs."+kind, "losetup")
	file := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Truncate(file, mib<<20))
	out, err := exec.Command("mkfs."+kind, "-q", file).CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.Command("losetup", "-f", "--show", file).CombinedOutput()
	if err != nil {
		testenv.Skip(t, "a loop device: "+string(out))
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { require.NoError(t, exec.Command("losetup", "-d", device).Run()) })
	return device
}

// unmounted waits until nobody has the device mounted, in any mount namespace: then it can be had alone.
func unmounted(t *testing.T, device string) {
	t.Helper()
	require.Eventually(t, func() bool {
		f, err := os.OpenFile(device, os.O_RDONLY|syscall.O_EXCL, 0)
		if err == nil {
			require.NoError(t, f.Close())
		}
		return err == nil
	}, time.Minute, 5*time.Millisecond)
}

// TestVolumeOfFileSystem: a volume that is a file system of its own is mounted while containers use it, the same for all of them, never
// among the host's mounts; it goes with the last one, and when a program is killed.
func TestVolumeOfFileSystem(t *testing.T) {
	e := newEngine(t)
	device := blockDevice(t, "ext4", 16)
	image := pullBusybox(t, e)
	o, err := VolumeOptions("local", nil, []string{"type=ext4", "device=" + device, "o=noexec,noatime"})
	require.NoError(t, err)
	name, err := e.CreateVolume("disk", o)
	require.NoError(t, err)
	in := func(script string, readOnly bool) Config {
		return Config{Image: image, Network: "none", Command: []string{"sh", "-c", script},
			Mounts: []Mount{{Type: "volume", Source: name, Target: "/data", ReadOnly: readOnly}}}
	}
	cfg := in("", false)
	first := detached(t, e, &cfg, "echo first >/data/file; exec sleep 600")
	require.Eventually(t, func() bool {
		return outputOf(t, e, in("cat /data/file 2>&1; true", true)) == "first\n"
	}, time.Minute, 10*time.Millisecond, "the same file system")
	require.Regexp(t, `/data ext4 rw,noexec,noatime`, outputOf(t, e, in("cat /proc/mounts", false)))
	require.Contains(t, outputOf(t, e, in("touch /data/more 2>&1; true", true)), "Read-only file system")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), device)
	_, err = os.OpenFile(device, os.O_RDONLY|syscall.O_EXCL, 0)
	require.ErrorIs(t, err, syscall.EBUSY)
	require.ErrorIs(t, e.Volumes().Remove(name), volume.ErrInUse)
	text, err := e.Explain(t.Context(), &Config{Image: image, Mounts: cfg.Mounts, Command: []string{"true"}})
	require.NoError(t, err)
	require.Contains(t, text, "volume disk")

	require.NoError(t, e.Remove(t.Context(), first.ID, &RemoveOptions{Force: true}))
	unmounted(t, device)
	require.Equal(t, "first\n", outputOf(t, e, in("cat /data/file", false)), "it is on the disk")
	unmounted(t, device)

	require.ErrorIs(t, e.ExportVolume(t.Context(), name, nil), errors.ErrUnsupported)
	cmd := exec.Command("/proc/self/exe", e.Root(), e.options.NetworkNamespace, image, name)
	cmd.Args[0] = "volumer"
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	b := make([]byte, 3)
	_, err = out.Read(b)
	require.NoError(t, err)
	require.Equal(t, "in\n", string(b))
	_, err = os.OpenFile(device, os.O_RDONLY|syscall.O_EXCL, 0)
	require.ErrorIs(t, err, syscall.EBUSY)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	unmounted(t, device)
	list, err := e.List(t.Context())
	require.NoError(t, err)
	for _, c := range list {
		require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
	}
	require.NoError(t, e.RemoveVolume(t.Context(), name))
}

// TestVolumeNotMounted: what the kernel cannot mount is an error that names it, before anything runs, and nothing is left.
func TestVolumeNotMounted(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
	for named, options := range map[string][]string{
		"this kernel has no file system nosuchfs":        {"type=nosuchfs", "device=x"},
		"type ext4: no such file":                        {"type=ext4", "device=/nosuch"},
		file + " is no block device":                     {"type=ext4", "device=" + file},
		`option "nosuchoption": invalid argument`:        {"type=ext4", "device=/nosuch", "o=ro,nosuchoption"},
		`option "addr": the server's address is missing`: {"type=nfs", "device=:/export", "o=rw"},
		`address of "host.invalid"`:                      {"type=nfs", "device=:/export", "o=addr=host.invalid"},
		`address of "other.invalid"`:                     {"type=cifs", "device=//other.invalid/share", "o=password=secret"},
	} {
		o, err := VolumeOptions("local", nil, options)
		require.NoError(t, err)
		name, err := e.CreateVolume("", o)
		require.NoError(t, err)
		_, err = e.Run(t.Context(), &Config{Image: image, Network: "none", Command: []string{"true"}, AutoRemove: true,
			Mounts: []Mount{{Type: "volume", Source: name, Target: "/data"}}}, nil)
		require.ErrorContains(t, err, "error while mounting volume '"+name+"': failed to mount local volume: mount ")
		require.ErrorContains(t, err, named)
		require.NotContains(t, err.Error(), "secret")
		require.NoError(t, e.RemoveVolume(t.Context(), name))
	}
}

// volumer is a helper program: it runs a container with a volume until it is killed.
func volumer(args []string) int {
	ctx := context.Background()
	e, err := Open(ctx, args[1], &Options{NetworkNamespace: args[2]})
	if err == nil {
		_, err = e.Run(ctx, &Config{
			Image: args[3], Network: "none", Command: []string{"sh", "-c", "echo in; exec sleep 600"},
			Mounts: []Mount{{Type: "volume", Source: args[4], Target: "/data"}}, AutoRemove: true,
		}, &StartOptions{Stdout: os.Stdout})
	}
	_ = err
	return 1
}

// TestRelabelNoFolder: a volume that is no folder of the host has nothing to relabel, and is used.
func TestRelabelNoFolder(t *testing.T) {
	e := newEngine(t)
	r := &Run{e: e, record: &Container{Config: Config{Isolation: Isolation{MountLabel: "system_u:object_r:container_file_t:s0:c1,c2"}}}}
	for _, kind := range []string{"tmpfs", "nfs"} {
		_, err := e.CreateVolume(kind, &volume.CreateOptions{Mount: &volume.Mount{Type: kind, Device: ":/nosuch"}})
		require.NoError(t, err)
		r.record.Mounts = append(r.record.Mounts, Mount{Type: "volume", Source: kind, Target: "/" + kind, Relabel: "z"})
	}
	require.NoError(t, r.relabel(t.Context()))
	r.record.Mounts[0].Source = "gone"
	require.ErrorIs(t, r.relabel(t.Context()), os.ErrNotExist)
}
