package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMountVolumes: a volume that is a folder of the host goes without it, and a driver that is not there is named.
func TestMountVolumes(t *testing.T) {
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	_, err = s.Create("other", &CreateOptions{Driver: "rexray"})
	require.ErrorIs(t, err, ErrDriver)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "driver rexray")
	_, err = s.Create("other", &CreateOptions{Mount: &Mount{Type: "nfs"}})
	require.ErrorIs(t, err, os.ErrInvalid) // without a device
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("there"), 0o600))
	v, err := s.Create("bound", &CreateOptions{Driver: "local", Mount: &Mount{Type: "bind", Device: dir}})
	require.NoError(t, err)
	require.Equal(t, dir, v.Path)
	again, err := s.Get("bound")
	require.NoError(t, err)
	require.Equal(t, v, again)
	_, err = s.Create("sized", &CreateOptions{Size: 1 << 20, Mount: v.Mount})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = s.CreateFrom(t.Context(), "into", &CreateOptions{Mount: v.Mount}, dir)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = s.Create("memory", &CreateOptions{Mount: &Mount{Type: "tmpfs", Device: "tmpfs"}})
	require.NoError(t, err)
	_, err = s.Clone(t.Context(), "memory", "copy", nil)
	require.ErrorContains(t, err, "in memory")
	require.NoError(t, s.Check(t.Context()))
	require.NoError(t, s.Remove("bound"))
	require.NoError(t, s.Remove("memory"))
	require.FileExists(t, filepath.Join(dir, "file"))
	all, err := s.List()
	require.NoError(t, err)
	require.Empty(t, all)
}
