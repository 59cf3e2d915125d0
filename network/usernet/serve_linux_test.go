package usernet

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// TestServe: the interface of a process that is gone is made anew by another, with its addresses, names and ports.
func TestServe(t *testing.T) {
	s := newStore(t)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	web, db := newBox(t, s, network.SandboxOptions{ID: "web"}), newBox(t, s, network.SandboxOptions{ID: "db"})
	e := web.attach("net", &network.EndpointOptions{Names: []string{"web"}, GatewayPriority: 3, Ports: []network.Port{{Container: 80}}})
	db.attach("net", nil)
	serve(t, web.in, ":80")
	db.sees("tcp", "10.250.0.2:80", "10.250.0.3")
	route := web.command("ip", "route")
	web.Forget()
	require.NotContains(t, web.command("ip", "link"), "eth0")

	next, err := s.Sandbox(web.pid, &network.SandboxOptions{ID: "web"})
	require.NoError(t, err)
	require.NoError(t, next.Serve(t.Context()))
	require.NoError(t, next.Serve(t.Context()), "what it serves it leaves as it is")
	require.Equal(t, route, web.command("ip", "route"))
	db.sees("tcp", "10.250.0.2:80", "10.250.0.3")
	require.Equal(t, "10.250.0.2\n", web.command("dig", "+short", "@10.250.0.1", "web"))
	answer, err := ask(here, "tcp", "127.0.0.1:"+portOf(e))
	require.NoError(t, err)
	require.Equal(t, "10.250.0.1", answer)
	require.NoError(t, next.Close())
	all, err := s.Endpoints("net")
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func portOf(e network.Endpoint) string { return strconv.Itoa(int(e.Ports[0].Host)) }
