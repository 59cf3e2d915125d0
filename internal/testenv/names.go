package testenv

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

const cgroupPrefix = "caisson-test-"

var cgroupCount atomic.Int64

func ownCgroupPrefix() string { return fmt.Sprintf("%s%d-", cgroupPrefix, os.Getpid()) }

// CgroupName returns a name for a cgroup that no other test uses. A group of such a name, or below one, that is left
// after the tests is a leak even when processes are in it.
func CgroupName(testing.TB) string { return fmt.Sprintf("%s%d", ownCgroupPrefix(), cgroupCount.Add(1)) }

// ReapOrphans is for tests that leave the children of a dead program to this process: when the test ends, they are
// collected, and it fails if some still run a few seconds later. Every other child must be waited for by whoever
// started it. A test that calls ReapOrphans must not run in parallel with others that start processes.
func ReapOrphans(t testing.TB) {
	before := pids(childProcesses())
	t.Cleanup(func() {
		t.Helper()
		for deadline := time.Now().Add(settle); ; time.Sleep(time.Millisecond) {
			running := reap(before)
			if len(running) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("orphans still run: %v", running)
				return
			}
		}
	})
}
