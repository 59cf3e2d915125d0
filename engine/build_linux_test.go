package engine

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVolatile: what a container writes that is removed at its end is not synced, what one writes that stays is.
func TestVolatile(t *testing.T) {
	e := newEngine(t)
	name := pullBusybox(t, e)
	root := func(autoRemove bool) string {
		var out bytes.Buffer
		config := &Config{Image: name, Command: []string{"grep", " / / ", "/proc/self/mountinfo"}, AutoRemove: autoRemove}
		_, err := e.Run(t.Context(), config, &StartOptions{Stdout: &out, Stderr: &out})
		require.NoError(t, err, out.String())
		return out.String()
	}
	require.Contains(t, root(true), "volatile")
	require.NotContains(t, root(false), "volatile")
}
