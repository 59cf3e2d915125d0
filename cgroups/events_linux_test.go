package cgroups

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

func newWatch(t testing.TB, g *Group) *Watch {
	t.Helper()
	w, err := g.Watch()
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// until reads events until one is of the kind, and returns the kinds before it and that one.
func until(t testing.TB, w *Watch, kind EventKind) (before []EventKind, e Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		e, err := w.Next(ctx)
		require.NoError(t, err, "waiting for %v after %v", kind, before)
		if e.Kind == kind {
			return before, e
		}
		before = append(before, e.Kind)
	}
}

// TestEventOOM: the limit is reached and a process killed, while someone waits; who comes later is told too.
func TestEventOOM(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{Memory: 64 << 20, MemorySwap: 64 << 20})
	w := newWatch(t, g)
	h := newHelper(t, g, "cg-hog", "200")
	h.say("go")
	before, e := until(t, w, OOMKill)
	require.GreaterOrEqual(t, e.Count, uint64(1))
	require.True(t, slices.Contains(before, OOM), "%v", before)
	if g.unified() != nil {
		require.Contains(t, before, Populated)
	}
	require.Equal(t, syscall.SIGKILL, h.wait())
	_, e = until(t, newWatch(t, g), OOMKill)
	require.GreaterOrEqual(t, e.Count, uint64(1))
}

// TestEventOOMGroup: v2 kills the group as a whole, and says so.
func TestEventOOMGroup(t *testing.T) {
	m := newV2Manager(t)
	g := newGroup(t, m, &Resources{Memory: 64 << 20, MemorySwap: 64 << 20, OOMGroup: true})
	w := newWatch(t, g)
	other := newHelper(t, g, "cg-sleep")
	h := newHelper(t, g, "cg-hog", "200")
	h.say("go")
	before, _ := until(t, w, OOMGroupKill)
	require.Contains(t, before, OOM)
	require.Contains(t, before, MemoryMax)
	require.Equal(t, syscall.SIGKILL, other.wait())
	require.Equal(t, syscall.SIGKILL, h.wait())
}

func TestEventMemoryHigh(t *testing.T) {
	m := newV2Manager(t)
	g := newGroup(t, m, &Resources{Unified: map[string]string{"memory.high": "16777216"}})
	w := newWatch(t, g)
	h := newHelper(t, g, "cg-hog", "17")
	h.say("go")
	until(t, w, MemoryHigh)
}

func TestEventPids(t *testing.T) {
	m := newManager(t)
	testenv.ReapOrphans(t)
	g := newGroup(t, m, &Resources{Pids: 20})
	w := newWatch(t, g)
	h := newHelper(t, g, "cg-bomb", "50")
	h.say("go")
	_, e := until(t, w, PidsMax)
	require.Positive(t, e.Count)
}

func TestEventStates(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	if g.unified() == nil {
		t.Skip("needs the unified hierarchy")
	}
	w := newWatch(t, g)
	h := newHelper(t, g, "cg-sleep")
	before, _ := until(t, w, Populated)
	require.Empty(t, before)
	require.NoError(t, g.Freeze(t.Context()))
	until(t, w, Frozen)
	require.NoError(t, g.Thaw())
	until(t, w, Thawed)
	require.NoError(t, g.Kill(t.Context()))
	require.Equal(t, syscall.SIGKILL, h.wait())
	until(t, w, Empty)
}

// TestWatchEnds: Next ends with its context, with the Watch, with the group's Close, and after the last event.
func TestWatchEnds(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	w := newWatch(t, g)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := w.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	next := func(w *Watch) chan error {
		c := make(chan error)
		go func() {
			_, err := w.Next(context.Background())
			c <- err
		}()
		return c
	}
	c := next(w)
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, w.Close())
	require.Equal(t, io.EOF, <-c)
	require.NoError(t, w.Close())

	opened, err := m.Open(g.Name())
	require.NoError(t, err)
	c = next(newWatch(t, opened))
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, opened.Close())
	require.Equal(t, io.EOF, <-c)
	_, err = opened.Watch()
	require.ErrorIs(t, err, os.ErrClosed)
}

// TestWatchAfterRemove: what happened until Remove is told after it.
func TestWatchAfterRemove(t *testing.T) {
	m := newManager(t)
	g, err := m.Create(testenv.CgroupName(t), &Resources{Memory: 64 << 20, MemorySwap: 64 << 20})
	require.NoError(t, err)
	w := newWatch(t, g)
	h := newHelper(t, g, "cg-hog", "200")
	h.say("go")
	require.Equal(t, syscall.SIGKILL, h.wait())
	require.NoError(t, g.Remove())
	time.Sleep(20 * time.Millisecond) // v1 notifies of the removal, which is no event
	require.NoError(t, g.Close())
	count := make(map[EventKind]int)
	for {
		e, err := w.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		count[e.Kind]++
	}
	require.Equal(t, 1, count[OOMKill], "%v", count)
	require.LessOrEqual(t, count[OOM], 1, "%v", count)
}

// TestWatchFails fails each step of Watch, and finds no descriptor left.
func TestWatchFails(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	require.NoError(t, newWatch(t, g).Close())
	errStep := errors.New("failed on purpose")
	before := descriptors(t)
	for k := 1; ; k++ {
		step := 0
		m.hook = func(string, string) error {
			if step++; step == k {
				return errStep
			}
			return nil
		}
		w, err := g.Watch()
		m.hook = nil
		if err == nil {
			require.Greater(t, k, 2)
			require.NoError(t, w.Close())
			return
		}
		require.ErrorIs(t, err, errStep)
		require.Equal(t, before, descriptors(t), "step %d", k)
	}
}

func descriptors(t testing.TB) int {
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(names)
}

// TestManyWatchesNoThreads: two hundred wait, and no thread with them.
func TestManyWatchesNoThreads(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	threads := func() int {
		all, err := filepath.Glob("/proc/self/task/*")
		require.NoError(t, err)
		return len(all)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := threads()
	for range 200 {
		w := newWatch(t, g)
		wg.Go(func() {
			_, err := w.Next(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("next: %v", err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	require.Less(t, threads(), before+20+runtime.NumCPU())
}

func TestEventString(t *testing.T) {
	require.Equal(t, "oom-kill 2", Event{OOMKill, 2}.String())
	require.Equal(t, "thawed", Event{Kind: Thawed}.String())
	require.Equal(t, "event 99", Event{Kind: 99}.String())
}
