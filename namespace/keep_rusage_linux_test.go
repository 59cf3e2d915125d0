package namespace

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() { programs["spend"] = spend }

// spend uses a processor and memory, by itself or by a child that it waits for, and prints how much.
func spend(args []string) int {
	who := unix.RUSAGE_SELF
	if len(args) > 1 && args[1] == "child" {
		cmd := exec.Command("/bin/spend")
		if err := cmd.Run(); err != nil {
			fmt.Println(err)
			return 1
		}
		who = unix.RUSAGE_CHILDREN
	} else {
		memory := make([]byte, 40<<20)
		for i := range memory {
			memory[i] = byte(i)
		}
	}
	var u unix.Rusage
	for {
		if err := unix.Getrusage(who, &u); err != nil {
			return 1
		}
		if who == unix.RUSAGE_CHILDREN || u.Utime.Nano() > int64(50*time.Millisecond) {
			break
		}
	}
	fmt.Println(u.Utime.Nano(), u.Stime.Nano(), u.Maxrss)
	return 0
}

// What a process and its children have used is known exactly though whoever asks has not started it.
func TestKeepRusage(t *testing.T) {
	root := keptRoot(t, "spend")
	for _, args := range [][]string{{"/bin/spend"}, {"/bin/spend", "child"}} {
		dir := t.TempDir()
		p, err := keptLaunch(root, dir, args...).Start(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Close())
		q, err := Adopt(t.Context(), dir)
		require.NoError(t, err)
		s, err := q.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, q.Close())
		var user, system, rss int64
		text := logText(t, dir, Stdout)
		_, err = fmt.Sscan(text, &user, &system, &rss)
		require.NoError(t, err, text)
		require.GreaterOrEqual(t, int64(s.UserTime), user)
		require.Less(t, int64(s.UserTime+s.SystemTime), user+system+int64(2*time.Second), "what came after it was printed is little")
		require.GreaterOrEqual(t, int64(s.SystemTime), system)
		require.GreaterOrEqual(t, s.MaxRSS, rss<<10)
		require.Less(t, s.MaxRSS, (rss+32<<10)<<10)
		require.GreaterOrEqual(t, rss, int64(40<<10))
	}
}
