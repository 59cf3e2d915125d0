package thread_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// TestRun: the thread is not the first, its error comes back, and it ends.
func TestRun(t *testing.T) {
	for range 50 { // until the first thread, too, was the one that asked
		var tid int
		require.EqualError(t, thread.Run(func() error {
			tid = unix.Gettid()
			return errors.New("mine")
		}), "mine")
		require.NotEqual(t, os.Getpid(), tid)
		require.Eventually(t, func() bool {
			_, err := os.Stat(filepath.Join("/proc/self/task", strconv.Itoa(tid)))
			return errors.Is(err, os.ErrNotExist)
		}, time.Minute, time.Millisecond)
	}
}
