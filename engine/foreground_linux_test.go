package engine

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/image"
)

// foreground starts a container in the foreground that nobody waits for yet.
func foreground(t *testing.T, e *Engine, cfg *Config, script string) *Run {
	t.Helper()
	cfg.Command, cfg.Network = []string{"sh", "-c", script}, "none"
	c, err := e.Create(t.Context(), cfg)
	require.NoError(t, err)
	r, err := e.Start(t.Context(), c.ID, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = r.Process().Kill()
		_ = r.Wait(context.Background())
	})
	return r
}

// TestStopBeforeWait: who runs a container in the foreground stops it, and waits then, in one goroutine or in several.
func TestStopBeforeWait(t *testing.T) {
	e := newEngine(t)
	img := pullBusybox(t, e)
	r := foreground(t, e, &Config{Image: img}, "sleep 600")
	id := r.Container().ID
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Wait(over), context.Canceled)
	_, err := e.WaitFor(over, id)
	require.ErrorIs(t, err, context.Canceled)

	waited := make(chan error, 1)
	go func() { waited <- r.Wait(t.Context()) }()
	require.Equal(t, Running, r.Container().State.Status)
	require.NoError(t, e.Stop(t.Context(), id, 0))
	c, err := e.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, Exited, c.State.Status)
	first := <-waited
	var exit *container.ExitError
	require.ErrorAs(t, first, &exit)
	require.Equal(t, first, r.Wait(t.Context()))
	code, err := e.WaitFor(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, 137, code)
	require.NoError(t, e.Remove(t.Context(), id, nil))

	// The same without anybody who waits, and removed by force.
	r = foreground(t, e, &Config{Image: img, AutoRemove: true}, "sleep 600")
	require.NoError(t, e.Stop(t.Context(), r.Container().ID, 0))
	require.Equal(t, 137, ExitCode(r.Wait(t.Context())))
	r = foreground(t, e, &Config{Image: img}, "sleep 600")
	require.NoError(t, e.Remove(t.Context(), r.Container().ID, &RemoveOptions{Force: true}))
	_, err = e.Inspect(t.Context(), r.Container().ID)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestWaitOfRemoved: who waits for a container that somebody else removes is told how it ended.
func TestWaitOfRemoved(t *testing.T) {
	e := newEngine(t)
	pullBusybox(t, e)
	c := detached(t, e, &Config{Network: "none"}, "sleep 600")
	r, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(t.Context()) }()
	select {
	case err := <-waited:
		require.Equal(t, 137, ExitCode(err))
	case <-time.After(time.Minute):
		require.Fail(t, "Wait does not return")
	}
	require.Equal(t, Exited, r.Container().State.Status)
}

func TestWaitHealthy(t *testing.T) {
	e := newEngine(t)
	img := pullBusybox(t, e)
	ctl := newPatient(t)
	ctl.says(t, "echo not yet; test -e /tmp/ready")
	check := ctl.check()
	check.Retries = 1000000
	config := func(check *image.Healthcheck) *Config {
		return &Config{Image: img, Mounts: []Mount{ctl.mount()}, Healthcheck: check}
	}
	r := foreground(t, e, config(check), "sleep 600")
	ctl.probed(t)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, e.WaitHealthy(soon, r.Container().ID), context.DeadlineExceeded)
	require.NoError(t, r.Process().Command("touch", "/tmp/ready").Run(t.Context()))
	require.NoError(t, e.WaitHealthy(t.Context(), r.Container().ID))
	require.NoError(t, e.Stop(t.Context(), r.Container().ID, 0))
	require.ErrorContains(t, e.WaitHealthy(t.Context(), r.Container().ID), "is not running: Exited (137)")

	ctl.says(t, "echo very; exit 1")
	r = foreground(t, e, config(ctl.check()), "sleep 600")
	err := e.WaitHealthy(t.Context(), r.Container().ID)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "is unhealthy: very")

	r = foreground(t, e, config(nil), "sleep 600")
	require.ErrorContains(t, e.WaitHealthy(t.Context(), r.Container().ID), "has no health check")
	check.Interval = time.Hour
	r = foreground(t, e, config(check), "exit 0")
	require.ErrorContains(t, e.WaitHealthy(t.Context(), r.Container().ID), "has ended")
}
