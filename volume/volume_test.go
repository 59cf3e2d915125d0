package volume

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"ab", "a1", "0_", "My.data-2", strings.Repeat("x", 255), "tmp", "lock"} {
		require.NoError(t, CheckName(name), name)
	}
	for _, name := range []string{
		"", "a", ".", "..", ".tmp", "-a", "_a", "a/b", "a b", "a\x00", "é1", "aé", "../x", strings.Repeat("x", 256), "a\n",
	} {
		require.ErrorIs(t, CheckName(name), ErrName, name)
		require.ErrorIs(t, CheckName(name), fs.ErrInvalid, name)
	}
}
