package engine

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// detached starts a container that runs a script of the shell, and leaves it.
func detached(t *testing.T, e *Engine, cfg *Config, script string) *Container {
	t.Helper()
	testenv.ReapOrphans(t)
	if cfg.Image == "" {
		cfg.Image = pullBusybox(t, e)
	}
	cfg.Command = []string{"sh", "-c", script}
	c, err := e.Create(t.Context(), cfg)
	require.NoError(t, err)
	again(t, e, c)
	return c
}

func again(t *testing.T, e *Engine, c *Container) {
	t.Helper()
	run, err := e.Start(t.Context(), c.ID, &StartOptions{Detach: true})
	require.NoError(t, err)
	require.NoError(t, run.Leave())
}

// The status is exact though the container is removed by who sees its end.
func TestWaitForAutoRemove(t *testing.T) {
	e := newEngine(t)
	c := detached(t, e, &Config{AutoRemove: true}, "sleep 0.2; exit 7")
	code, err := e.WaitFor(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, 7, code)
}

// Who waits gets the end that it waited for, though others saw it first and started the container again.
func TestWaitThoughStartedAgain(t *testing.T) {
	e := newEngine(t)
	c := detached(t, e, &Config{}, "sleep 60")
	r, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	require.NoError(t, e.Stop(t.Context(), c.ID, 0))
	again(t, e, c)
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(context.Background()) }()
	select {
	case err := <-waited:
		require.Equal(t, 137, ExitCode(err))
		require.Equal(t, 137, r.Container().State.ExitCode)
	case <-time.After(time.Minute):
		t.Error("it waits for the second end")
	}
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
}

// What others change of a container in background while who started it waits for its end is kept.
func TestChangedWhileWaitedFor(t *testing.T) {
	e := newEngine(t)
	supervise(t, e, 0)
	testenv.ReapOrphans(t)
	c, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e), Command: []string{"sh", "-c", "read x; exit 3"}, OpenStdin: true,
		RestartPolicy: policy(RestartAlways)})
	require.NoError(t, err)
	r, err := e.Start(t.Context(), c.ID, &StartOptions{Detach: true})
	require.NoError(t, err)
	require.NoError(t, e.Rename(t.Context(), c.ID, "renamed"))
	require.NoError(t, e.Update(t.Context(), c.ID, &Update{RestartPolicy: policy(RestartNo)}))
	require.NoError(t, r.Process().CloseInput(t.Context()))
	var exit *container.ExitError
	require.ErrorAs(t, r.Wait(t.Context()), &exit)
	require.Equal(t, 3, exit.Code)
	require.Equal(t, 3, r.Container().State.ExitCode)
	c = mustInspect(t, e, c)
	require.Equal(t, "renamed", c.Name)
	require.Equal(t, RestartNo, c.Config.RestartPolicy.Name)
	require.Equal(t, Exited, c.State.Status)
	require.Equal(t, 3, c.State.ExitCode)
	require.False(t, c.State.Restarting)
	require.Empty(t, c.Endpoints)
}

// A program that is killed while it starts a container leaves its control group: that is neither in the way of the next
// start, nor left when the container is removed.
func TestGroupOfKilledStart(t *testing.T) {
	for name, detach := range map[string]bool{"background": true, "foreground": false} {
		t.Run(name, func(t *testing.T) { testGroupOfKilledStart(t, detach) })
	}
}

func testGroupOfKilledStart(t *testing.T, detach bool) {
	e := newEngine(t)
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	kill := func(c *Container) []string {
		if detach {
			require.NoError(t, os.MkdirAll(e.keepDir(c.ID), 0o700))
		}
		g, err := m.Create(e.cgroup(c), nil)
		require.NoError(t, err)
		defer g.Close()
		return g.Paths()
	}
	c, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e), Command: []string{"true"}})
	require.NoError(t, err)
	left := kill(c)
	for range 2 {
		if detach {
			testenv.ReapOrphans(t)
			again(t, e, c)
			_, err = e.WaitFor(t.Context(), c.ID)
			require.NoError(t, err)
		} else {
			r, err := e.Start(t.Context(), c.ID, nil)
			require.NoError(t, err)
			require.NoError(t, r.Wait(t.Context()))
		}
		left = append(left, kill(c)...)
	}
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
	for _, dir := range left {
		require.NoDirExists(t, dir)
	}
}

// A paused container can be removed by force, and stopped.
func TestRemovePaused(t *testing.T) {
	e := newEngine(t)
	c := detached(t, e, &Config{}, "trap 'exit 3' TERM; while :; do sleep 0.1; done")
	pause := func() {
		r, err := e.Adopt(t.Context(), c.ID)
		require.NoError(t, err)
		require.NoError(t, r.Process().Pause(t.Context()))
		require.NoError(t, r.Leave())
	}
	time.Sleep(200 * time.Millisecond) // until the trap is set
	pause()
	require.NoError(t, e.Stop(t.Context(), c.ID, 10*time.Second))
	code, err := e.WaitFor(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, 3, code, "it saw the signal")
	again(t, e, c)
	frozen := false // by the freezer of cgroup v1, if there is one: there SIGKILL waits
	for _, dir := range mustInspect(t, e, c).State.Cgroups {
		if _, err := os.Stat(dir + "/freezer.state"); err == nil {
			require.NoError(t, os.WriteFile(dir+"/freezer.state", []byte("FROZEN"), 0))
			frozen = true
		}
	}
	if !frozen {
		pause()
	}
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
}

func mustInspect(t *testing.T, e *Engine, c *Container) *Container {
	t.Helper()
	c, err := e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	return c
}
