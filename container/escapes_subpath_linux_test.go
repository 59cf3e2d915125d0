package container_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
)

// escapeByExchangedSubpath: a container exchanges a folder of a shared volume for a link to the host's files, while others are started that
// mount a part of the volume below it.
func escapeByExchangedSubpath(t *testing.T) {
	outside, volume := t.TempDir(), t.TempDir()
	for dir, text := range map[string]string{outside: "the host's", filepath.Join(volume, "a"): "the volume's"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "part"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "part/file"), []byte(text), 0o644))
	}
	for name, link := range map[string]string{"absolute": outside, "relative": strings.Repeat("../", 30) + strings.TrimPrefix(outside, "/")} {
		require.NoError(t, os.Symlink(link, filepath.Join(volume, name)))
		stop := exchanger(t, volume, "/volume/a", "/volume/"+name)
		template := newContainer(t)
		ran := 0
		for range rounds() / 2 {
			c := newContainerIn(t, template, "read", "/mnt/file")
			c.Mounts = []container.Mount{{Source: volume, Subpath: "a/part", Target: "/mnt"}}
			out, err := c.Output(t.Context())
			if err == nil { // else it was the link
				ran++
				require.Equal(t, "the volume's", string(out))
			}
		}
		stop()
		t.Logf("%s link: %d of %d started", name, ran, rounds()/2)
		require.NoError(t, os.RemoveAll(filepath.Join(volume, name))) // by now it may be the folder
		if st, err := os.Lstat(filepath.Join(volume, "a")); err == nil && st.Mode()&os.ModeSymlink != 0 {
			require.NoError(t, os.Remove(filepath.Join(volume, "a")))
		}
		require.NoError(t, os.MkdirAll(filepath.Join(volume, "a/part"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(volume, "a/part/file"), []byte("the volume's"), 0o644))
	}
}
