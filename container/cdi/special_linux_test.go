package cdi

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// special makes what is no regular file.
func special(t *testing.T, dir string) []string {
	pipe, device := filepath.Join(dir, "pipe.json"), filepath.Join(dir, "device.yaml")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Symlink("/dev/zero", device))
	return []string{pipe, device}
}

// TestHostNode takes from the host's node what the file does not say.
func TestHostNode(t *testing.T) {
	d := &Devices{}
	file, err := ParseYAML([]byte(`{cdiVersion: 1.0.0, kind: a.b/c, devices: [{name: x, containerEdits: {deviceNodes: [
		{path: /dev/mine, hostPath: /dev/null, permissions: r}, {path: /dev/owned, hostPath: /dev/zero, uid: 7}, {path: /dev/full, type: c},
		{path: /dev/closed, hostPath: /dev/null, permissions: none}]}},
		{name: wrong, containerEdits: {deviceNodes: [{path: /dev/null, type: b}]}}, {name: file, containerEdits: {deviceNodes: [{path: /etc/passwd}]}}]}`))
	require.NoError(t, err)
	d.devices = map[string]found{}
	for i := range file.Devices {
		d.devices["a.b/c="+file.Devices[i].Name] = found{file: file, device: &file.Devices[i]}
	}
	c := container.New(nil, "x")
	require.NoError(t, d.Apply(c, "a.b/c=x"))
	require.Equal(t, []container.Device{{Source: "/dev/null", Target: "/dev/mine", Permissions: "r"}, {Source: "/dev/full", Target: "/dev/full"}}, c.Devices)
	require.Len(t, c.Nodes, 2)
	require.Equal(t, "/dev/owned c 1:5 -rw-rw-rw-", nodeText(&c.Nodes[0]))
	require.Equal(t, "/dev/closed c 1:3 -rw-rw-rw-", nodeText(&c.Nodes[1]))
	require.Len(t, c.DeviceRules, 1)
	require.ErrorContains(t, d.Apply(c, "a.b/c=wrong"), "not of type b")
	require.ErrorContains(t, d.Apply(c, "a.b/c=file"), "/etc/passwd")
}

func nodeText(d *specs.LinuxDevice) string {
	return fmt.Sprintf("%s %s %d:%d %v", d.Path, d.Type, d.Major, d.Minor, *d.FileMode)
}

func TestMain(m *testing.M) { testenv.Main(m, nil) }

// TestHooksOfOthers: what the host program executes is not what others could have written.
func TestHooksOfOthers(t *testing.T) {
	testenv.RequireRoot(t)
	for what, x := range map[string]struct {
		change func(dir, file string) error
		ok     bool
	}{
		"root's":                       {func(dir, file string) error { return nil }, true},
		"file of another user":         {func(dir, file string) error { return os.Chown(file, 1000, 0) }, false},
		"file that a group may write":  {func(dir, file string) error { return os.Chmod(file, 0o664) }, false},
		"file that others may write":   {func(dir, file string) error { return os.Chmod(file, 0o602) }, false},
		"folder of another user":       {func(dir, file string) error { return os.Chown(dir, 1000, 0) }, false},
		"folder that others may write": {func(dir, file string) error { return os.Chmod(dir, 0o777) }, false},
	} {
		dir := t.TempDir()
		file := write(t, dir, "a.json", sampleJSON)
		require.NoError(t, os.Chmod(dir, 0o755))
		require.NoError(t, x.change(dir, file))
		d, err := Load(dir)
		require.NoError(t, err)
		c := &container.Container{}
		require.NoError(t, d.Apply(c, "vendor.com/gpu.x=0"), "without hooks it is as it was")
		if err = d.Apply(c, "vendor.com/gpu.x=hooked"); x.ok {
			require.NoError(t, err, what)
			require.Len(t, c.Hooks.CreateContainer, 1)
			continue
		}
		require.ErrorIs(t, err, os.ErrPermission, what)
		require.ErrorContains(t, err, "containerEdits.hooks")
		require.Nil(t, c.Hooks)
	}
}
