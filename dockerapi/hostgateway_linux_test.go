package dockerapi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDockerHostGateway: a container knows the host by the name that it gave it.
func TestDockerHostGateway(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("network", "create", "--internal", "inner")
	p.docker("network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "net")
	require.Contains(t, p.docker("run", "--rm", "--add-host", "host.docker.internal:host-gateway", "--network", "inner", "--network", "net", "busybox",
		"sh", "-c", "cat /etc/hosts; busybox ping -c 1 -W 30 host.docker.internal"), "10.77.0.9\thost.docker.internal\n")
	require.Contains(t, p.docker("run", "--rm", "--add-host", "me:host-gateway", "--network", "host", "busybox", "cat", "/etc/hosts"), "127.0.0.1\tme\n")
	require.Contains(t, p.fails(125, "run", "--rm", "--add-host", "me:host-gateway", "--network", "none", "busybox"), "the network none has no gateway")
}
