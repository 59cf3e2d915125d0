package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestUserns: run, exec, cp and a volume in a user namespace of the container's own.
func TestUserns(t *testing.T) {
	testenv.RequireKernel(t, 5, 19)
	h := newHost(t)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	ids := "cat /proc/self/uid_map; stat -c %u:%g /data"
	require.Equal(t, "0 0 4294967295 0:0", strings.Join(strings.Fields(h.output("run", "--rm", "--userns=host", "-v", "data:/data", h.image, "sh", "-c", ids)), " "))
	h.output("run", "-d", "--network", "none", "--name", "one", "--userns=auto", "-v", "data:/data", h.image, "sleep", "60")
	have := strings.Fields(h.output("exec", "one", "sh", "-c", ids))
	require.Len(t, have, 4)
	require.NotEqual(t, "0", have[1])
	require.Equal(t, "0:0", have[3])
	require.Contains(t, h.output("inspect", "one"), have[1])
	h.output("rm", "-f", "one")
	h.output("volume", "rm", "data")
}
