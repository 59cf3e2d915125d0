package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// TestSourceFetch: what is left of a blob is in the file before it is read, once, and what was read before stays read.
func TestSourceFetch(t *testing.T) {
	blob := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for _, had := range []int{0, 1000, len(blob)} {
		file, err := os.Create(filepath.Join(t.TempDir(), "part"))
		require.NoError(t, err)
		defer file.Close()
		_, err = file.Write(blob[:had])
		require.NoError(t, err)
		remote := bytes.NewReader(blob)
		src := &source{r: remote, file: file, skip: int64(had)}
		head := make([]byte, 5000)
		_, err = io.ReadFull(src, head)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, src.fetch())
		}
		require.Zero(t, remote.Len())
		content, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		require.Equal(t, blob, content)
		rest, err := io.ReadAll(src)
		require.NoError(t, err)
		require.Equal(t, blob, append(head, rest...))
	}

	broken := errors.New("broken")
	file, err := os.Create(filepath.Join(t.TempDir(), "part"))
	require.NoError(t, err)
	defer file.Close()
	src := &source{r: io.MultiReader(bytes.NewReader(blob[:1000]), iotest.ErrReader(broken)), file: file}
	require.ErrorIs(t, src.fetch(), broken)
	require.ErrorIs(t, src.readErr, broken)
	require.EqualValues(t, 1000, src.at, "and so it is worth keeping")
}
