package engine

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A commit that is killed leaves the container frozen until the next program opens the engine. What somebody has paused
// stays paused.
func TestKilledCommitThaws(t *testing.T) {
	e := newEngine(t)
	c := detached(t, e, &Config{}, "sleep 60")
	c = mustInspect(t, e, c)
	reopen := func() {
		other, err := Open(t.Context(), e.dir, &e.options)
		require.NoError(t, err)
		require.NoError(t, other.Close())
	}
	release, err := e.pauseFor(t.Context(), c)
	require.NoError(t, err)
	require.True(t, frozen(c.State.Cgroups))
	reopen()
	require.True(t, frozen(c.State.Cgroups), "the commit goes on")
	// The lock ends with its program.
	path := e.path(c.ID, pausedFile)
	require.NoError(t, os.Rename(path, path+".dead"))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	reopen()
	require.False(t, frozen(c.State.Cgroups))
	require.NoFileExists(t, path)
	require.NoError(t, release())

	require.NoError(t, e.Pause(t.Context(), c.ID))
	_, err = e.Commit(t.Context(), c.ID, nil)
	require.NoError(t, err)
	reopen()
	require.True(t, frozen(c.State.Cgroups))
	require.NoError(t, e.Unpause(t.Context(), c.ID))
	_, err = e.Commit(t.Context(), c.ID, nil)
	require.NoError(t, err)
	require.False(t, frozen(c.State.Cgroups))
	require.NoFileExists(t, path)

	// One that has the engine open already finds the dead one's file in a commit of its own.
	_, err = e.pauseFor(t.Context(), c)
	require.NoError(t, err)
	dead, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+".dead"))
	require.NoError(t, os.WriteFile(path, dead, 0o600))
	_, err = e.Commit(t.Context(), c.ID, nil)
	require.NoError(t, err)
	require.False(t, frozen(c.State.Cgroups))
	require.NoFileExists(t, path)
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
}
