package engine

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/control"
)

// TestAskOneThatEnds: a supervisor that is about to end is none, for who can start no other.
func TestAskOneThatEnds(t *testing.T) {
	e := &Engine{dir: t.TempDir()}
	s, err := control.Listen(e.socketPath())
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(func([]byte, []*os.File) any { return &answer{Ending: true} })
	}()
	defer func() { require.NoError(t, s.Close()); <-done }()
	_, err = e.ask(t.Context(), &call{Do: "serve", ID: "x"})
	require.ErrorIs(t, err, control.ErrNobody)
	require.NotContains(t, err.Error(), "nil")
}
