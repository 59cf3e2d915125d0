package namespace

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPlaceholder: it is there until it is closed, and has nothing of the program.
func TestPlaceholder(t *testing.T) {
	h, err := NewPlaceholder()
	require.NoError(t, err)
	defer h.Close()
	require.Greater(t, h.Pid(), 0)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", h.Pid()))
	require.NoError(t, err)
	require.Equal(t, "caisson-place", strings.TrimSpace(string(comm)))
	if os.Geteuid() == 0 {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.Pid()))
		require.NoError(t, err)
		for _, fd := range fds {
			to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", h.Pid(), fd.Name()))
			require.NoError(t, err)
			require.True(t, to == os.DevNull || strings.HasPrefix(to, "pipe:"), to)
		}
	}
	require.NoError(t, h.Close())
	require.NoError(t, h.Close())
	require.Eventually(t, func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", h.Pid()))
		return os.IsNotExist(err)
	}, time.Minute, time.Millisecond)
}
