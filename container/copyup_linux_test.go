package container_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/stretchr/testify/require"
)

// copyingContainer has a tmpfs that is filled with a file of so many bytes.
func copyingContainer(t *testing.T, size int64, args ...string) *container.Container {
	c := newContainer(t, args...)
	dir := filepath.Join(c.Root.String(), "data")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	require.NoError(t, os.Truncate(filepath.Join(dir, "file"), size)) // a tmpfs has no holes that are copied
	c.Mounts = []container.Mount{{Type: "tmpfs", Target: "/data", Data: "size=1g", CopyUp: true}}
	return c
}

// TestCopyUpIsCharged: what a tmpfs is filled with is memory of the container's control group, a whole start or one of a pool.
func TestCopyUpIsCharged(t *testing.T) {
	const size = 8 << 20
	check := func(t *testing.T, c *container.Container) {
		require.NoError(t, c.Start(t.Context()))
		defer func() {
			require.NoError(t, c.Kill())
			_ = c.Wait(t.Context())
		}()
		require.Eventually(t, func() bool { // the kernel adds some of it up in the background
			s, err := c.Stats()
			return err == nil && s.Memory.Shared >= size
		}, time.Minute, 10*time.Millisecond)
	}
	t.Run("whole", func(t *testing.T) {
		c := copyingContainer(t, size, "sleep", "60s")
		c.Memory = 64 << 20
		check(t, c)
	})
	t.Run("in a user namespace", func(t *testing.T) {
		c := copyingContainer(t, size, "sleep", "60s")
		c.Memory = 64 << 20
		c.UIDMappings = []namespace.IDMapping{{HostID: 100000, Size: 65536}}
		c.GIDMappings = c.UIDMappings
		check(t, c)
	})
	t.Run("from a pool", func(t *testing.T) {
		p := &container.Pool{Size: 1, New: func(ctx context.Context) (*container.Container, error) {
			c := copyingContainer(t, size, "sleep", "60s")
			c.Memory = 64 << 20
			return c, nil
		}}
		defer func() { require.NoError(t, p.Close()) }()
		c, err := p.Get(t.Context())
		require.NoError(t, err)
		check(t, c)
	})
}

// TestCopyUpBeyondMemory: a tmpfs that is filled with more than the container's memory is no memory of the host's: the start
// fails, says why, and is undone.
func TestCopyUpBeyondMemory(t *testing.T) {
	c := copyingContainer(t, 64<<20, "id")
	c.Memory = 16 << 20
	err := c.Start(t.Context())
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, namespace.ErrDeputyEnded)
	require.ErrorContains(t, err, "/data: mount")
	require.ErrorContains(t, err, "the OOM killer came: the control group has a limit of 16777216 bytes")
	require.Empty(t, c.CgroupPaths())

	c = copyingContainer(t, 64<<20, "id")
	c.Memory = 256 << 20
	require.NoError(t, c.Run(t.Context()))
}
