package engine

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestSignalWhileItEnds: signals may come while Wait reads the container's document again. The race detector sees if they meet.
func TestSignalWhileItEnds(t *testing.T) {
	testenv.ReapOrphans(t)
	r := startShared(t, newEngine(t), &Config{Command: []string{"true"}}, &StartOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = r.Signal(ctx, syscall.SIGWINCH)
		}
	}()
	err := r.Wait(t.Context())
	cancel()
	<-done
	require.NoError(t, err)
	require.Equal(t, Exited, r.Container().State.Status)
}
