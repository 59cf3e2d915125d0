package layer

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadLimited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	_, err := readLimited(path, 10)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, n := range []int{0, 1, 511, 512, 513, 5000} {
		want := strings.Repeat("x", n)
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))
		got, err := readLimited(path, 5000)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		if n > 0 {
			_, err = readLimited(path, int64(n-1))
			require.ErrorContains(t, err, "is larger than")
		}
	}
	_, err = readLimited(t.TempDir(), 10)
	require.Error(t, err)
}
