package engine

import (
	"bytes"
	"io/fs"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/image"
)

// TestPlatform: a container is made of the platform that is asked for, also if another one is in the store, and of the
// machine's if none is asked for. Both stay usable.
func TestPlatform(t *testing.T) {
	e := newEngine(t)
	mine, other := "linux/"+runtime.GOARCH, "linux/arm64"
	if runtime.GOARCH == "arm64" {
		other = "linux/amd64"
	}
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	_, err = e.Create(t.Context(), &Config{Image: "hello-world", Platform: other})
	require.ErrorIs(t, err, fs.ErrNotExist)
	var platform *image.PlatformError
	require.ErrorAs(t, err, &platform)
	require.Equal(t, other, platform.Want)

	_, err = e.Pull(t.Context(), "hello-world", &PullOptions{Platform: other})
	require.NoError(t, err)
	images := map[string]string{}
	for _, p := range []string{mine, other, ""} {
		c, err := e.Create(t.Context(), &Config{Image: "hello-world", Platform: p})
		require.NoError(t, err)
		images[p] = c.ImageID.String()
		require.NoError(t, e.Remove(t.Context(), c.ID, nil))
	}
	require.NotEqual(t, images[mine], images[other])
	require.Equal(t, images[mine], images[""])
	for _, p := range []string{mine, ""} {
		var out bytes.Buffer
		_, err = e.Run(t.Context(), &Config{Image: "hello-world", Platform: p}, &StartOptions{Stdout: &out})
		require.NoError(t, err)
		require.NotEmpty(t, out)
	}
	_, err = e.Create(t.Context(), &Config{Image: "hello-world", Platform: "a/b/c/d"})
	require.ErrorContains(t, err, `platform "a/b/c/d"`)
}
