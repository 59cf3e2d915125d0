package engine

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// TestUserNetworks: networks in this process have names, ports and allow-lists as those of the host have.
func TestUserNetworks(t *testing.T) {
	first := newEngine(t)
	image := pullBusybox(t, first)
	e, err := Open(t.Context(), first.dir, &Options{UserNetworks: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	_, err = e.CreateNetwork(t.Context(), "net", nil)
	require.NoError(t, err)
	web, end := running(t, e, Config{
		Image: image, Network: "net", Name: "web", Ports: []network.Port{{Container: 80}},
		Command: sh("mkdir /www; echo hello > /www/index.html; httpd -p 80 -h /www; read line"),
	})
	defer end()
	out := outputOf(t, e, Config{Image: image, Network: "net", Command: sh(
		"cat /etc/resolv.conf; for i in 1 2 3 4 5 6 7 8 9; do wget -qO - http://web/ && break; sleep 0.2; done; ip route")})
	gateway := mustNetwork(t, e, "net").Subnets[0].Gateway.String()
	require.Contains(t, out, "nameserver "+gateway+"\n")
	require.Contains(t, out, "hello\n")
	require.Contains(t, out, "default via "+gateway+" dev eth0")
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", web.Container().Endpoints[0].Ports[0].Host))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "hello\n", string(text))
	var tried []network.Attempt
	c, err := e.Create(t.Context(), &Config{Image: image, Network: "net", Egress: &network.Egress{}, Command: sh("nc -w 1 192.0.2.7 80; true")})
	require.NoError(t, err)
	r, err := e.Start(t.Context(), c.ID, &StartOptions{Audit: func(a network.Attempt) { tried = append(tried, a) }})
	require.NoError(t, err)
	require.NoError(t, r.Wait(t.Context()))
	require.NotEmpty(t, tried)
	require.Equal(t, "192.0.2.7", tried[0].Address.String())
	_, err = e.Start(t.Context(), c.ID, &StartOptions{Detach: true})
	require.ErrorContains(t, err, "network net without root: a container in background needs a supervisor for it")
	// One that this program runs is connected and disconnected meanwhile, and keeps a resolver.
	require.NoError(t, e.Connect(t.Context(), "web", &Connection{Network: "bridge", Aliases: []string{"late"}}))
	require.NoError(t, e.Disconnect(t.Context(), "web", "net"))
	require.ErrorIs(t, e.Disconnect(t.Context(), "web", "net"), fs.ErrNotExist)
	require.Equal(t, "hello\n", outputOf(t, e, Config{Image: image, Network: "bridge", Command: sh("wget -qO - http://late/")}))
	resolv, err := os.ReadFile(e.path(web.Container().ID, "resolv.conf"))
	require.NoError(t, err)
	require.Contains(t, string(resolv), "nameserver "+mustNetwork(t, e, "bridge").Subnets[0].Gateway.String()+"\n")
	other, err := Open(t.Context(), first.dir, &Options{UserNetworks: true})
	require.NoError(t, err)
	require.ErrorContains(t, other.Connect(t.Context(), "web", &Connection{Network: "net"}), "are another program's")
	require.NoError(t, other.Close())
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
	end()
	all, err := e.Networks().Endpoints("net")
	require.NoError(t, err)
	require.Empty(t, all)
}

func mustNetwork(t *testing.T, e *Engine, name string) network.Network {
	t.Helper()
	n, err := e.Networks().Get(name)
	require.NoError(t, err)
	return n
}
