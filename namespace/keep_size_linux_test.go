package namespace

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pss is the proportional set size of a process in KB: its memory, and its part of what it shares.
func pss(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			kb, err := strconv.Atoi(f[1])
			require.NoError(t, err)
			return kb
		}
	}
	t.Fatal("no Pss")
	return 0
}

// A keeper is small, and a while after a lot of output small again.
func TestKeeperSize(t *testing.T) {
	limit := 30 * unix.Getpagesize() / 4096
	root := keptRoot(t)
	var keepers []int
	for range 4 {
		p, err := keptLaunch(root, t.TempDir(), "/bin/chat").Start(t.Context())
		require.NoError(t, err)
		defer p.Close()
		defer func() {
			require.NoError(t, p.Signal(unix.SIGKILL))
			_, err := p.Wait(t.Context())
			require.NoError(t, err)
		}()
		in, err := p.Input(t.Context())
		require.NoError(t, err)
		_, err = in.WriteString(strings.Repeat("x", 30<<10) + "\n")
		require.NoError(t, err)
		require.NoError(t, in.Close())
		keepers = append(keepers, keeperOf(t, p.Pid()))
	}
	sizes := make([]int, len(keepers))
	small := func() bool {
		most := 0
		for i, pid := range keepers {
			sizes[i] = pss(t, pid)
			most = max(most, sizes[i])
		}
		return most <= limit
	}
	require.Eventually(t, small, time.Minute, 20*time.Millisecond, "%v KB", sizes)
	t.Log("KB:", sizes)
}
