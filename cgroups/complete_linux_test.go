package cgroups

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestComplete makes a group whole that somebody has made in one hierarchy only. If that fails, it is as it was.
func TestComplete(t *testing.T) {
	m := newManager(t)
	for _, path := range []string{testenv.CgroupName(t), testenv.CgroupName(t) + "/deep"} {
		dirs, err := m.Directories(path)
		require.NoError(t, err)
		last := dirs[len(dirs)-1]
		require.NoError(t, os.MkdirAll(last, 0o755))
		fails := 0
		m.hook = func(step, _ string) error {
			if step != "mkdir" && step != "open" {
				return nil
			}
			if fails--; fails == 0 {
				return unix.EROFS
			}
			return nil
		}
		for n := 1; ; n++ {
			fails = n
			g, err := m.Complete(path)
			if err == nil {
				require.Subset(t, g.Paths(), dirs)
				require.Greater(t, n, len(dirs)-1)
				require.NoError(t, g.Remove())
				require.NoError(t, g.Close())
				break
			}
			require.ErrorIs(t, err, unix.EROFS)
			for _, dir := range dirs[:len(dirs)-1] {
				require.NoDirExists(t, dir)
			}
			require.DirExists(t, last)
		}
		m.hook = nil
		if strings.Contains(path, "/") {
			require.NoError(t, os.Remove(filepath.Dir(last)))
		}
		for _, dir := range dirs {
			require.NoDirExists(t, dir)
		}
		g, err := m.Complete(path) // of nothing
		require.NoError(t, err)
		require.Subset(t, g.Paths(), dirs)
		require.NoError(t, g.Remove())
		require.NoError(t, g.Close())
	}
	_, err := m.Complete("../x")
	require.Error(t, err)
}
