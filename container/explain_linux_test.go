package container

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func TestProgramIsShownAndNotRun(t *testing.T) {
	testenv.RequireRoot(t)
	c := New(namespace.Dir(testenv.NewRootfs(t)), "/bin/shown")
	c.Hostname = "shown-host"
	program, err := c.Program()
	require.NoError(t, err)
	require.Contains(t, program.String(), `execve("/bin/shown"`)
	require.Contains(t, program.String(), "shown-host")
	require.Zero(t, c.Pid())
	require.Empty(t, c.CgroupPaths())

	c.Memory = 1
	var start *StartError
	_, err = c.Program()
	require.ErrorAs(t, err, &start)
	require.Equal(t, "Memory", start.Path)
}
