package engine

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// outputOf runs a container and returns what it prints.
func outputOf(t *testing.T, e *Engine, cfg Config) string {
	t.Helper()
	cfg.AutoRemove = true
	var out bytes.Buffer
	_, err := e.Run(t.Context(), &cfg, &StartOptions{Stdout: &out, Stderr: &out})
	require.NoError(t, err, out.String())
	return out.String()
}

// running starts a container that reads its input, and returns it with the end of the input.
func running(t *testing.T, e *Engine, cfg Config) (r *Run, end func()) {
	t.Helper()
	c, err := e.Create(t.Context(), &cfg)
	require.NoError(t, err)
	in, w := io.Pipe()
	r, err = e.Start(t.Context(), c.ID, &StartOptions{Stdin: in})
	require.NoError(t, err)
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = w.Close()
		_ = r.Process().Kill()
		_ = r.Wait(context.Background())
	}
	t.Cleanup(func() {
		end()
		require.NoError(t, e.Remove(context.Background(), c.ID, nil))
	})
	return r, end
}

func TestNetworks(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	sh := func(script string) []string { return []string{"sh", "-c", script} }

	// By default it is connected to a network of its own making, and its files say so.
	text := outputOf(t, e, Config{Image: image, Command: sh("ip -o -4 addr show eth0; cat /etc/hosts /etc/resolv.conf; ip route"),
		Hostname: "box", ExtraHosts: []string{"other:10.9.8.7", "six:fd00::1"}, DNSSearch: []string{"example.org"}})
	require.Contains(t, text, "172.17.0.2/16")
	require.Contains(t, text, "172.17.0.2\tbox\n")
	require.Contains(t, text, "10.9.8.7\tother\n")
	require.Contains(t, text, "fd00::1\tsix\n")
	require.Contains(t, text, "nameserver 127.0.0.11\nsearch example.org\noptions ndots:0\n")
	require.Contains(t, text, "default via 172.17.0.1 dev eth0")
	text = outputOf(t, e, Config{Image: image, Network: "none", Command: sh("ip -o link; cat /etc/resolv.conf")})
	require.NotContains(t, text, "eth0")

	// Two containers on two networks know each other by name.
	for _, name := range []string{"front", "back"} {
		_, err := e.CreateNetwork(t.Context(), name, &network.CreateOptions{Internal: name == "back"})
		require.NoError(t, err)
	}
	_, err := e.CreateNetwork(t.Context(), "back", nil)
	require.ErrorIs(t, err, fs.ErrExist)
	r, end := running(t, e, Config{
		Image: image, Name: "server", Command: sh("httpd -p 80 -h /etc; cat"),
		Networks: []Connection{{Network: "back"}, {Network: "front", Aliases: []string{"web"}, IPv4: netip.MustParseAddr("172.18.0.10")}},
		Ports:    []network.Port{{Container: 80, Address: netip.MustParseAddr("127.0.0.1")}},
	})
	c, err := e.Inspect(t.Context(), "server")
	require.NoError(t, err)
	require.Len(t, c.Endpoints, 2)
	require.Empty(t, c.Endpoints[0].Ports, "an internal network publishes none")
	require.NotZero(t, c.Endpoints[1].Ports[0].Host)
	require.ErrorIs(t, e.RemoveNetwork(t.Context(), "back"), fs.ErrExist)
	for _, name := range []string{"server", "web", c.ShortID(), "web.front", "172.18.0.10"} {
		text = outputOf(t, e, Config{Image: image, Network: "front", Command: []string{"busybox", "wget", "-q", "-O-", "http://" + name + "/hostname"}})
		require.Equal(t, c.ShortID()+"\n", text)
	}
	text = outputOf(t, e, Config{Image: image, Network: "container:server", Command: sh("ip -o -4 addr; wget -q -O- http://127.0.0.1/hostname; hostname")})
	require.Contains(t, text, "172.18.0.10/16")
	require.Contains(t, text, c.ShortID()+"\n")
	conn, err := r.Sandbox().Dial(t.Context(), "tcp", "web:80")
	require.NoError(t, err)
	require.NoError(t, conn.Close())

	// Connecting and disconnecting while it runs.
	require.ErrorIs(t, e.Connect(t.Context(), "server", &Connection{Network: "front"}), fs.ErrExist)
	require.NoError(t, e.Connect(t.Context(), "server", &Connection{Network: "bridge", Aliases: []string{"late"}}))
	text = outputOf(t, e, Config{Image: image, Command: []string{"busybox", "wget", "-q", "-O-", "http://late/hostname"}})
	require.Equal(t, c.ShortID()+"\n", text)
	require.NoError(t, e.Disconnect(t.Context(), "server", "bridge"))
	require.ErrorIs(t, e.Disconnect(t.Context(), "server", "bridge"), fs.ErrNotExist)
	require.ErrorIs(t, e.Connect(t.Context(), "server", &Connection{Network: "nosuch"}), fs.ErrNotExist)

	// So it is at its next start, though it runs in the foreground.
	require.NoError(t, e.Connect(t.Context(), "server", &Connection{Network: "bridge", Aliases: []string{"late"}}))
	require.NoError(t, e.Disconnect(t.Context(), "server", "back"))
	networksOf := func() (names []string) {
		c, err := e.Inspect(t.Context(), "server")
		require.NoError(t, err)
		for _, at := range c.Networks {
			names = append(names, at.Network)
		}
		return names
	}
	require.Equal(t, []string{"front", "bridge"}, networksOf())
	defer func() { require.Equal(t, []string{"front", "bridge"}, networksOf()) }() // when it has ended

	// A port that is taken is an error before anything starts, and a container can then be started with another.
	taken, err := e.Create(t.Context(), &Config{Image: image, Ports: c.Endpoints[1].Ports, Command: sh("touch /started")})
	require.NoError(t, err)
	_, err = e.Start(t.Context(), taken.ID, nil)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "port is already allocated")
	_, err = os.Stat(filepath.Join(e.Root(), "containers", taken.ID, "upper", "started"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, e.Disconnect(t.Context(), taken.ID, "bridge"))
	require.NoError(t, e.Connect(t.Context(), taken.ID, &Connection{Network: "front"}))
	end()
	again, err := e.Start(t.Context(), taken.ID, nil)
	require.NoError(t, err)
	require.NoError(t, again.Wait(t.Context()))
	require.NoError(t, e.Remove(t.Context(), taken.ID, nil))

	require.NoError(t, e.Networks().Check(t.Context()))
	all, err := e.Networks().Endpoints("back")
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, e.RemoveNetwork(t.Context(), "back"))
	require.ErrorIs(t, e.RemoveNetwork(t.Context(), "back"), fs.ErrNotExist)
	require.ErrorIs(t, e.RemoveNetwork(t.Context(), "bridge"), fs.ErrExist)
	names, err := e.PruneNetworks(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, names, "a container that does not run names the other one")
}

// TestNetworksRefused: what cannot be is refused when the container is made.
func TestNetworksRefused(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	port := []network.Port{{Container: 80, Host: 8080}}
	for message, cfg := range map[string]Config{
		"network nosuch not found":                     {Network: "nosuch"},
		"No such container: nosuch":                    {Network: "container:nosuch"},
		"conflicting options":                          {Network: "none", Ports: port},
		"invalid MAC address: x":                       {Networks: []Connection{{Network: "bridge", MAC: "x"}}},
		"bad format for add-host":                      {ExtraHosts: []string{"a"}},
		"invalid DNS search domain or option: \"a b\"": {DNSSearch: []string{"a b"}},
		"invalid exposed port":                         {PublishAll: true, Expose: []string{"x"}},
	} {
		cfg.Image = image
		_, err := e.Create(t.Context(), &cfg)
		require.ErrorContains(t, err, message)
	}
	// An address that the network does not have is refused by the start, which is undone.
	c, err := e.Create(t.Context(), &Config{Image: image, Networks: []Connection{{Network: "bridge", IPv4: netip.MustParseAddr("10.0.0.1")}}, Ports: port})
	require.NoError(t, err)
	_, err = e.Start(t.Context(), c.ID, nil)
	require.ErrorContains(t, err, "IPv4: 10.0.0.1 is no address of the network's subnet")
	require.NoError(t, e.Networks().Check(t.Context()))
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
	require.False(t, strings.Contains(err.Error(), net.ErrClosed.Error()))
}

// TestEgress: a container reaches what its allow-list has, and its log has what it tried.
func TestEgress(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	_, err := e.CreateNetwork(t.Context(), "net", &network.CreateOptions{Subnets: []network.Subnet{{Prefix: netip.MustParsePrefix("10.91.0.0/24")}}})
	require.NoError(t, err)
	script := []string{"sh", "-c", "nc -w 1 10.91.0.1 9 </dev/null; nslookup evil.example.org; true"}
	file := filepath.Join(t.TempDir(), "egress.log")
	cfg := Config{Image: image, Network: "net", Command: script, EgressLog: file, Egress: &network.Egress{}}
	require.NotContains(t, outputOf(t, e, cfg), "Connection refused")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Regexp(t, `"allowed":false,"protocol":"tcp","address":"10.91.0.1","port":9}`, string(text))
	require.Contains(t, string(text), `"allowed":false,"protocol":"dns","name":"evil.example.org"}`)
	rule, err := network.ParseEgress("10.91.0.1:9")
	require.NoError(t, err)
	cfg.Egress = &network.Egress{Allow: []network.EgressRule{rule}}
	require.Contains(t, outputOf(t, e, cfg), "Connection refused") // by the host, where nobody listens
	text, err = os.ReadFile(file)
	require.NoError(t, err)
	require.Regexp(t, `"allowed":true,"protocol":"tcp","address":"10.91.0.1","port":9}`, string(text))

	for field, bad := range map[string]Config{
		"egress":    {Image: image, Network: "host", Egress: &network.Egress{}},
		"EgressLog": {Image: image, EgressLog: "relative"},
	} {
		_, err = e.Create(t.Context(), &bad)
		require.ErrorContains(t, err, field)
	}
	cfg.Egress, cfg.EgressLog = &network.Egress{Allow: []network.EgressRule{{Name: "example.org"}}}, ""
	c, err := e.Create(t.Context(), &cfg)
	require.NoError(t, err)
	_, err = e.Start(t.Context(), c.ID, &StartOptions{Detach: true})
	require.ErrorContains(t, err, "egress example.org: a name: a container in background needs a supervisor for it")
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
}
