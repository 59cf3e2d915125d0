package container_test

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
)

// TestReaderGone: a command whose output nobody reads any more learns that from its own write, whether or not the output is copied on the
// way, and the container ends as the command then does.
func TestReaderGone(t *testing.T) {
	for how, set := range map[string]func(c *container.Container){
		"pipe":   func(*container.Container) {},
		"shared": func(c *container.Container) { c.Shared = &container.Keep{Dir: t.TempDir()} },
	} {
		for _, code := range []string{"0", "7"} {
			t.Run(how+code, func(t *testing.T) {
				c := newContainer(t, "write-until-error", code)
				set(c)
				r, w, err := os.Pipe()
				require.NoError(t, err)
				defer w.Close()
				require.NoError(t, r.Close())
				c.Stdout = w
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err = c.Run(ctx); code == "0" {
					require.NoError(t, err)
					return
				}
				var exit *container.ExitError
				require.ErrorAs(t, err, &exit)
				require.Equal(t, 7, exit.Code)
			})
		}
	}
}

// TestReaderOfTerminalGone: the terminal goes with its reader.
func TestReaderOfTerminalGone(t *testing.T) {
	c := newContainer(t, "write-until-error", "7")
	c.TTY = true
	r, w := io.Pipe()
	require.NoError(t, r.Close())
	c.Stdout = w
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := c.Run(ctx)
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.NoError(t, ctx.Err())
	require.Equal(t, 7, exit.Code)
}
