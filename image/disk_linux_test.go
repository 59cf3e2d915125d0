package image

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestPullFullDisk: on a file system that is too small for the image, at many sizes, nothing is left behind.
func TestPullFullDisk(t *testing.T) {
	testenv.RequireRoot(t)
	f := newFakeRegistry(t)
	f.add(t, testImage{layers: []testLayer{{"a": noise(1, 1<<20)}, {"b": noise(2, 1<<20)}, {"c": noise(3, 2<<20)}}}, "v1")
	full, fits := 0, false
	for kib := 256; kib <= 16<<10 && !fits; kib += 700 {
		func() {
			dir := t.TempDir()
			require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)))
			defer func() { require.NoError(t, syscall.Unmount(dir, 0)) }()
			s, err := Open(dir)
			require.NoError(t, err)
			_, err = Pull(t.Context(), s, f.ref("app:v1"), nil)
			if err == nil {
				fits = true
				checkStore(t, s)
				return
			}
			full++
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, "no space left")
			require.Empty(t, left(t, s), "%d KiB", kib)
			require.NoError(t, s.Check(t.Context(), &CheckOptions{Deep: true}))
		}()
	}
	require.True(t, fits)
	require.Greater(t, full, 5)
}
