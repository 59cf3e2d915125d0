package container_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container/cdi"
)

// TestCDIDevices gives a container what a file in YAML says, in a user namespace too, where the host's nodes are bound.
func TestCDIDevices(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(`
cdiVersion: 0.7.0
kind: a.b/c
devices:
- name: zero
  containerEdits:
    deviceNodes: [{path: /dev/sub/zero, hostPath: /dev/zero}, {path: /dev/kmsg, permissions: none}]
    mounts: [{hostPath: /dev/zero, containerPath: /lib/zero, options: [bind, ro]}]
`), 0o600))
	devices, err := cdi.Load(dir)
	require.NoError(t, err)
	want := "/dev/sub/zero 20666 1:5 0 0 ok\n/dev/kmsg 20644 1:11 0 0 operation not permitted\n"
	for _, own := range []bool{false, true} {
		c := newContainer(t, "devices", "/dev/sub/zero", "/dev/kmsg")
		if own {
			c.UIDMappings, c.GIDMappings = idMaps, idMaps
			// The host's owner has no id there, and the node is not root's to open.
			want = "/dev/sub/zero 20666 1:5 65534 65534 ok\n/dev/kmsg 20644 1:11 65534 65534 permission denied\n"
		}
		require.NoError(t, devices.Apply(c, "a.b/c=zero"))
		require.Equal(t, want, output(t, c))
	}
}
