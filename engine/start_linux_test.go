package engine

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command can be killed with its engine as soon as it runs: by then its start is written down.
func TestRunningIsWrittenBeforeTheCommandRuns(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	m, err := ParseVolume(e.dir + "/containers:/c:ro")
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = e.Run(t.Context(), &Config{
		Image: image, Mounts: []Mount{m}, AutoRemove: true, Command: []string{"sh", "-c", "cat /c/*/container.json"},
	}, &StartOptions{Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Contains(t, out.String(), `"running"`)
}

// A command that cannot be executed leaves the state that the container had before.
func TestFailedStartIsNotRunning(t *testing.T) {
	e := newEngine(t)
	c, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e), Command: []string{"/missing"}})
	require.NoError(t, err)
	_, err = e.Start(t.Context(), c.ID, nil)
	require.Error(t, err)
	c, err = e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, Created, c.State.Status)
	require.Zero(t, c.State.Pid)
	require.Equal(t, 127, c.State.ExitCode)
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
}
