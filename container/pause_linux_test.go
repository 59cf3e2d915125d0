package container_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A pause that comes while a command is being started does not hold that up: the command is started first, or not at all.
func TestPauseWhileCommandStarts(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	started := 0
	for i := range 40 {
		p := c.Command("exit", "0")
		result := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		go func() { result <- p.Start(ctx) }()
		time.Sleep(time.Duration(i%8) * 300 * time.Microsecond)
		require.NoError(t, c.Pause(t.Context()))
		err := <-result // while it is paused
		cancel()
		require.NoError(t, c.Resume())
		if err != nil {
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "paused")
			continue
		}
		started++
		require.NoError(t, p.Wait(t.Context()))
	}
	require.Positive(t, started)
	require.NoError(t, c.Command("exit", "0").Run(t.Context()))
	require.NoError(t, c.Stop(t.Context()))
}

// A pause whose context ends while it waits leaves the container as it was.
func TestPauseContext(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	why := errors.New("no time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	err := c.Pause(ctx)
	require.ErrorIs(t, err, why)
	require.False(t, c.Paused())
	require.NoError(t, c.Command("exit", "0").Run(t.Context()))
	require.NoError(t, c.Stop(t.Context()))
}
