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
