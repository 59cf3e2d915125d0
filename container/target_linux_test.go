package container

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// TestDanglingTargets: a mount's target that is a link to nowhere is made where the link leads to, inside the root.
func TestDanglingTargets(t *testing.T) {
	testenv.RequireRoot(t)
	root := testenv.NewRootfs(t, "read")
	for link, to := range map[string]string{
		"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf", "etc/out": "../../../../../../outside/file",
		"data": "/srv/all/data", "loop": "/loop", "plain": "/etc/hosts",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755))
		require.NoError(t, os.Symlink(to, filepath.Join(root, link)))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("content\n"), 0o644))
	for target, read := range map[string]string{
		"/etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf", "/etc/out": "/outside/file", "/data": "/srv/all/data/file",
		"/plain": "/etc/hosts",
	} {
		source := file
		if target == "/data" {
			source = dir
		}
		c := New(namespace.Dir(root), "/bin/read", read)
		c.Mounts = []Mount{Bind(source, target)}
		out, err := c.Output(t.Context())
		require.NoError(t, err, target)
		require.Equal(t, "content\n", string(out), target)
	}
	require.NoFileExists(t, "/outside/file")
	c := New(namespace.Dir(root), "/bin/read", "/loop")
	c.Mounts = []Mount{Bind(file, "/loop")}
	_, err := c.Output(t.Context())
	var start *StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "/loop", start.Path)
}
