package dockerapi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDockerLinks: a container has names of its own for others, on the default network and on others.
func TestDockerLinks(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("network", "create", "net")
	p.docker("run", "-d", "--name", "db", "--expose", "5432", "--expose", "80", "-e", "SECRET=s", "busybox", "busybox", "httpd", "-f", "-h", "/etc")
	p.docker("network", "connect", "net", "db")
	host := p.docker("exec", "db", "hostname")
	ask := func(name string) string { return "until wget -q -O- http://" + name + "/hostname; do sleep 0.1; done" }

	at := strings.TrimSpace(p.docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db"))
	out := p.docker("run", "--rm", "--name", "app", "--link", "db:da-ta", "-e", "DA_TA_ENV_SECRET=own", "busybox", "sh", "-c", "env; "+ask("da-ta"))
	for _, line := range []string{
		"DA_TA_NAME=/app/da-ta", "DA_TA_PORT=tcp://" + at + ":80", "DA_TA_PORT_5432_TCP=tcp://" + at + ":5432", "DA_TA_PORT_5432_TCP_ADDR=" + at,
		"DA_TA_PORT_5432_TCP_PORT=5432", "DA_TA_PORT_5432_TCP_PROTO=tcp", "DA_TA_ENV_SECRET=own",
	} {
		require.Contains(t, out, line+"\n")
	}
	require.NotContains(t, out, "DA_TA_ENV_PATH")
	require.True(t, strings.HasSuffix(out, "\n"+host), out)

	// The link is to the container, whatever it is called and wherever it is.
	p.docker("run", "-d", "--name", "app", "--link", "db:data", "--link", "db", "busybox", "sleep", "1000")
	p.docker("rename", "db", "base")
	require.Equal(t, "[/base:/app/data /base:/app/db]\n", p.docker("inspect", "-f", "{{.HostConfig.Links}}", "app"))
	p.docker("restart", "-t", "0", "base")
	require.Equal(t, host+host, p.docker("exec", "app", "sh", "-c", ask("data")+"; "+ask("db")))

	// Elsewhere it is nobody else's name.
	out = p.docker("run", "--rm", "--network", "net", "--link", "base:data", "busybox", "sh", "-c", "env; "+ask("data"))
	require.True(t, strings.HasSuffix(out, host), out)
	require.NotContains(t, out, "DATA_")
	require.Contains(t, p.fails(1, "run", "--rm", "--network", "net", "busybox", "busybox", "wget", "-q", "-O-", "http://data/"), "bad address")
	p.docker("network", "connect", "--link", "base:late", "net", "app")
	require.Equal(t, host, p.docker("exec", "app", "sh", "-c", ask("late")))
	require.Equal(t, "[base:late]\n", p.docker("inspect", "-f", "{{.NetworkSettings.Networks.net.Links}}", "app"))
	require.Contains(t, p.fails(1, "exec", "app", "busybox", "wget", "-q", "-O-", "http://late.bridge/"), "bad address")

	p.docker("rm", "-f", "base")
	require.Equal(t, "[]\n", p.docker("inspect", "-f", "{{.HostConfig.Links}}", "app"))
	p.docker("restart", "-t", "0", "app")

	for args, text := range map[string]string{
		"--link nothing:x":            "could not get container for nothing: No such container: nothing",
		"--link app:x --network none": "conflicting options: ",
		"--link app:x/../y:z":         "bad format for links",
		"--link :x":                   "bad format for links",
	} {
		require.Contains(t, p.fails(125, append(append([]string{"run"}, strings.Fields(args)...), "busybox")...), text, args)
	}
	require.Contains(t, p.fails(1, "rm", "--link", "app"), "not implemented: link")
}
