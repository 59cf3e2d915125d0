package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEachStops: after a signal the arguments that are left are not looked at.
func TestEachStops(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &app{ctx: ctx, stderr: null}
	var seen []string
	err = a.each([]string{"a", "b", "c"}, func(arg string) error {
		if seen = append(seen, arg); arg == "b" {
			a.signals.handle(syscall.SIGTERM, cancel)
			return ctx.Err()
		}
		return errors.New("no")
	})
	require.Equal(t, []string{"a", "b"}, seen)
	var status *exitStatus
	require.ErrorAs(t, err, &status)
	require.Equal(t, 128+15, status.code)
	require.ErrorContains(t, err, "terminated")
}
