package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
)

// TestErofs runs containers of an image whose layers are EROFS images, commits one, and removes all.
func TestErofs(t *testing.T) {
	e := newEngine(t)
	testenv.RequireKernel(t, 6, 12)
	testenv.RequireCommand(t, "mkfs.erofs")
	require.NoError(t, e.images.Layers().Use(layer.EROFS))
	ref := pullBusybox(t, e)
	img, err := e.Image(t.Context(), ref)
	require.NoError(t, err)
	require.NotEmpty(t, img.Layers[0].Image)
	var out bytes.Buffer
	c, err := e.Run(t.Context(), &Config{Image: ref, Command: []string{"sh", "-c", "echo made >/file; rm /bin/true; ls /bin/busybox /file"}},
		&StartOptions{Stdout: &out, Stderr: &out})
	require.NoError(t, err, out.String())
	require.Equal(t, "/bin/busybox\n/file\n", out.String())
	made, err := e.Commit(t.Context(), c.ID, &CommitOptions{Name: "made"})
	require.NoError(t, err)
	require.NotEmpty(t, made.Layers[len(made.Layers)-1].Image)
	out.Reset()
	_, err = e.Run(t.Context(), &Config{Image: "made", AutoRemove: true, Command: []string{"sh", "-c", "cat /file; ! test -e /bin/true"}},
		&StartOptions{Stdout: &out, Stderr: &out})
	require.NoError(t, err, out.String())
	require.Equal(t, "made\n", out.String())
	u, err := e.images.DiskUsage(t.Context(), nil)
	require.NoError(t, err)
	require.Positive(t, u.Layers)
	require.NoError(t, e.images.Check(t.Context(), &image.CheckOptions{Deep: true}))
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
	for _, name := range []string{"made", ref} {
		_, err := e.RemoveImage(t.Context(), name, nil)
		require.NoError(t, err)
	}
	left, err := filepath.Glob(filepath.Join(e.dir, "layers", "sha256", "*"))
	require.NoError(t, err)
	require.Empty(t, left)

	// Where mkfs.erofs is missing, the engine says so.
	t.Setenv("PATH", t.TempDir())
	_, err = Open(t.Context(), filepath.Join(t.TempDir(), "other"), &Options{LayerFormat: layer.EROFS})
	require.ErrorContains(t, err, "erofs-utils")
	_, err = os.Stat(e.dir)
	require.NoError(t, err)
}
