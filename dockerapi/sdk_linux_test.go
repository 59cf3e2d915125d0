package dockerapi

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestPython leads a life by Docker's SDK for Python, which Debian's docker-compose brings.
func TestPython(t *testing.T) {
	testenv.RequireCommand(t, "python3", "docker-compose")
	p := newPeer(t)
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "testdata/sdk.py", p.socket, p.busybox()).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
