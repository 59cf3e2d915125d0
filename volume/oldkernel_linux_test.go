package volume

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestOlderKernels copies without the calls by which newer kernels copy, and limits a size without the one that limits a folder.
func TestOlderKernels(t *testing.T) {
	testenv.RequireRoot(t)
	ficlone := uint32(unix.FICLONE)
	if !testenv.OnOlderKernel(t, append(testenv.DeniedCalls(unix.SYS_COPY_FILE_RANGE, unix.SYS_QUOTACTL_FD),
		testenv.Denied{Call: unix.SYS_IOCTL, Arg: 1, Mask: ^uint32(0), Value: ficlone, Errno: unix.ENOTTY})) {
		return
	}
	s, image := newStore(t), newImage(t)
	_, err := s.CreateFrom(context.Background(), "first", nil, filepath.Join(image, "data"))
	require.NoError(t, err)
	v, err := s.Clone(context.Background(), "first", "second", nil)
	require.NoError(t, err)
	want := listing(t, filepath.Join(image, "data"))
	delete(want, "/whiteout")
	requireSame(t, want, listing(t, v.Path))

	_, err = s.Create("small", &CreateOptions{Size: 1 << 20})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "Linux 5.14")
	require.NoDirExists(t, filepath.Join(filepath.Dir(filepath.Dir(v.Path)), "small"))
}
