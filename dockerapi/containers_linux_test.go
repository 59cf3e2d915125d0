package dockerapi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDockerRun(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	require.Equal(t, "hello\n", p.docker("run", "--network", "none", "--rm", "busybox", "echo", "hello"))
	out, stderr, err := p.try("run", "--network", "none", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
	require.Error(t, err)
	require.Equal(t, []string{"out\n", "err\n"}, []string{out, stderr})
	require.Empty(t, p.docker("ps", "-aq"))
	id := strings.TrimSpace(p.docker("run", "-d", "--name", "bg", "--network", "none", "busybox", "sh", "-c", "echo begun; sleep 1000"))
	require.Len(t, id, 64)
	require.Equal(t, "begun\n", p.docker("logs", "bg"))
	require.Equal(t, "running true /bg\n", p.docker("inspect", "-f", "{{.State.Status}} {{.State.Running}} {{.Name}}", id[:12]))
	require.Equal(t, "bg\n", p.docker("stop", "-t", "0", "bg"))
	require.Equal(t, "137\n", p.docker("wait", "bg"))
	require.Equal(t, "bg\n", p.docker("rm", "bg"))
}
