package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestInRootlessPodman: in a container of an ordinary user's podman, info says what is in the way of containers, and what would help;
// and where nothing is, they run.
func TestInRootlessPodman(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	u := testenv.NewUser(t, true)
	podman := testenv.Podman(t, u, testenv.NewRootfs(t, "minidocker"))
	info := podman(nil, "/bin/minidocker", "info")
	require.Regexp(t, `WARNING: no containers: .*\bproc\b.*\n +the container that the program is in takes .*systempaths=unconfined`, info)
	require.Regexp(t, `WARNING: no networks of an ordinary user: open /dev/net/tun: .*\n +modprobe tun; .* takes --device /dev/net/tun`, info)
	unconfined := []string{"--security-opt", "unmask=ALL", "--security-opt", "seccomp=unconfined"}
	require.Contains(t, podman(unconfined, "/bin/minidocker", "run", "--rm", "--network", "none", "hello-world"), "Hello from")
	require.Contains(t, podman([]string{"--privileged"}, "/bin/minidocker", "run", "--rm", "hello-world"), "Hello from") // on a network
}
