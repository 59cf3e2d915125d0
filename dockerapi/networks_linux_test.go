package dockerapi

import (
	"encoding/json"
	"strings"
	"testing"

	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/volume"
)

// TestDockerNetworks: the docker command makes, lists, shows and removes networks, and connects containers to them.
func TestDockerNetworks(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	require.Equal(t, "bridge bridge local\nhost host local\nnone null local\n", p.docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"))
	id := strings.TrimSpace(p.docker("network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "--ip-range", "10.77.0.128/25",
		"--aux-address", "router=10.77.0.129", "--label", "a=b", "--internal", "-o", "com.docker.network.driver.mtu=1400", "front"))
	require.Len(t, id, 64)
	var list []apinetwork.Inspect
	require.NoError(t, json.Unmarshal([]byte(p.docker("network", "inspect", id[:12])), &list))
	n := list[0]
	require.Equal(t, "front", n.Name)
	require.Equal(t, id, n.ID)
	require.True(t, n.Internal && n.EnableIPv4 && !n.EnableIPv6)
	require.Equal(t, map[string]string{"a": "b"}, n.Labels)
	require.Equal(t, map[string]string{"com.docker.network.driver.mtu": "1400"}, n.Options)
	c := n.IPAM.Config[0]
	require.Equal(t, "10.77.0.0/24 10.77.0.128/25 10.77.0.9 10.77.0.129", strings.Join([]string{
		c.Subnet.String(), c.IPRange.String(), c.Gateway.String(), c.AuxAddress["router"].String(),
	}, " "))
	p.docker("network", "create", "--ipv6", "--attachable", "back")
	names := func(filter ...string) string {
		args := []string{"network", "ls", "--format", "{{.Name}}"}
		for _, f := range filter {
			args = append(args, "--filter", f)
		}
		return strings.ReplaceAll(strings.TrimSpace(p.docker(args...)), "\n", " ")
	}
	require.Equal(t, "back bridge front host none", names())
	require.Equal(t, "front", names("label=a"))
	require.Equal(t, "back front", names("type=custom"))
	require.Equal(t, "bridge host none", names("type=builtin"))
	require.Equal(t, "back front", names("name=a", "name=ront"))
	require.Equal(t, "front", names("id="+id[:12]))
	require.Equal(t, "none", names("driver=null"))
	require.Equal(t, "back front", names("dangling=true"))
	for args, text := range map[string]string{
		"create front":                      "network with name front already exists",
		"create host":                       "operation is not permitted on predefined host network",
		"create --subnet 10.77.0.0/16 x":    "invalid pool request: Pool overlaps with other one on this address space",
		"create -o nosuch=1 x":              `invalid option "nosuch"`,
		"create --config-only x":            "not implemented: network.ConfigOnly",
		"create --ipam-driver other x":      "not implemented: network.IPAM.Driver=other",
		"create --scope swarm x":            "not implemented: network.Scope=swarm",
		"create -d overlay x":               `Driver: "overlay" is none of bridge, macvlan, ipvlan`,
		"create .x":                         "network names are",
		"inspect nothing":                   "network nothing not found",
		"rm host":                           "operation is not permitted on predefined host network",
		"rm nothing":                        "network nothing not found",
		"connect nothing nobody":            "network nothing not found",
		"connect front nobody":              "No such container: nobody",
		"ls --filter nosuch=1":              "invalid filter 'nosuch'",
		"ls --filter dangling=perhaps":      "invalid filter 'dangling=perhaps'",
		"prune -f --filter until=yesterday": "invalid filter 'until=yesterday'",
	} {
		require.Contains(t, p.fails(1, append([]string{"network"}, strings.Fields(args)...)...), text, args)
	}

	web, err := p.e.Create(t.Context(), &engine.Config{Image: "busybox", Name: "web", Command: []string{"sleep", "1000"}})
	require.NoError(t, err)
	run, err := p.e.Start(t.Context(), web.ID, &engine.StartOptions{Detach: true})
	require.NoError(t, err)
	require.NoError(t, run.Leave())
	require.Contains(t, p.fails(1, "network", "connect", "--link", "x:a/..", "front", "web"), "bad format for links: x:a/..")
	require.Contains(t, p.fails(1, "network", "connect", "--ip", "10.77.0.129", "front", "web"), "is reserved")
	p.docker("network", "connect", "--ip", "10.77.0.20", "--alias", "www", id[:12], "web")
	require.Contains(t, p.fails(1, "network", "connect", "front", "web"), "endpoint with name web already exists in network front")
	var with []apinetwork.Inspect
	require.NoError(t, json.Unmarshal([]byte(p.docker("network", "inspect", "front")), &with))
	at := with[0].Containers[web.ID]
	require.Equal(t, "web 10.77.0.20/24", at.Name+" "+at.IPv4Address.String())
	require.Len(t, at.MacAddress, 6)
	require.Contains(t, p.fails(1, "network", "rm", "front"), "network front has active endpoints")
	require.Equal(t, "back", names("dangling=true"))
	p.docker("network", "disconnect", "front", "web")
	require.Contains(t, p.fails(1, "network", "disconnect", "front", "web"), "is not connected to network front")
	require.Equal(t, "back\n", p.docker("network", "rm", "back"))
	require.NotContains(t, p.docker("network", "prune", "-f", "--filter", "label!=a"), "front")
	require.Equal(t, "Deleted Networks:\nfront\n\n", p.docker("network", "prune", "-f", "--filter", "until=0s"))
}

// TestDockerVolumes: the docker command makes, lists, shows and removes volumes.
func TestDockerVolumes(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	dir := t.TempDir()
	require.Equal(t, "data\n", p.docker("volume", "create", "--label", "a=b", "data"))
	require.Equal(t, "data\n", p.docker("volume", "create", "data"), "it is there already")
	p.docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device="+dir, "bound")
	anonymous := strings.TrimSpace(p.docker("volume", "create"))
	require.Len(t, anonymous, 64)
	names := func(filter ...string) string {
		args := []string{"volume", "ls", "-q"}
		for _, f := range filter {
			args = append(args, "--filter", f)
		}
		return strings.ReplaceAll(strings.TrimSpace(p.docker(args...)), "\n", " ")
	}
	require.ElementsMatch(t, []string{anonymous, "bound", "data"}, strings.Fields(names()))
	require.Equal(t, "data", names("label=a"))
	require.Equal(t, "data", names("label=a=b", "name=dat"))
	require.Equal(t, anonymous, names("label="+engine.AnonymousVolume))
	require.Empty(t, names("driver=other"))
	v, err := p.e.Volumes().Get("data")
	require.NoError(t, err)
	require.Equal(t, "data local local "+v.Path+" map[a:b]\n", p.docker("volume", "inspect", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Mountpoint}} {{.Labels}}", "data"))
	require.Equal(t, "bind none "+dir+"\n", p.docker("volume", "inspect", "--format", "{{.Options.o}} {{.Options.type}} {{.Options.device}}", "bound"))
	c, err := p.e.Create(t.Context(), &engine.Config{Image: "busybox", Mounts: []engine.Mount{{Type: "volume", Source: "data", Target: "/data"}}})
	require.NoError(t, err)
	require.Equal(t, "data", names("dangling=false"))
	for args, text := range map[string]string{
		"create -d other x":            "error looking up volume plugin other: plugin not found",
		"create -o nosuch=1 x":         `invalid option: "nosuch"`,
		"create ../x":                  "volume names are",
		"create --group x x":           "not implemented: ClusterVolumeSpec",
		"inspect nothing":              "get nothing: no such volume",
		"rm nothing":                   "get nothing: no such volume",
		"rm data":                      "remove data: volume is in use - [" + c.ID + "]",
		"ls --filter nosuch=1":         "invalid filter 'nosuch'",
		"ls --filter dangling=perhaps": "invalid filter 'dangling=perhaps'",
	} {
		require.Contains(t, p.fails(1, append([]string{"volume"}, strings.Fields(args)...)...), text, args)
	}
	p.docker("volume", "rm", "-f", "nothing")
	require.Contains(t, p.docker("volume", "prune", "-f", "--filter", "label=a"), "Total reclaimed space: 0B")
	require.Contains(t, p.docker("volume", "prune", "-f"), "Deleted Volumes:\n"+anonymous+"\n")
	require.Equal(t, "bound\n", p.docker("volume", "rm", "bound"))
	require.DirExists(t, dir)
	require.NoError(t, p.e.Remove(t.Context(), c.ID, nil))
	require.Contains(t, p.docker("volume", "prune", "-f", "-a"), "Deleted Volumes:\ndata\n")
	_, err = p.e.Volumes().Get("data")
	require.ErrorIs(t, err, volume.ErrNotFound)
}

// TestDockerDiskUsage: what is said to be on disk is what is there.
func TestDockerDiskUsage(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("volume", "create", "data")
	_, err := p.e.Create(t.Context(), &engine.Config{Image: "busybox", Name: "user", Mounts: []engine.Mount{{Type: "volume", Source: "data", Target: "/data"}}})
	require.NoError(t, err)
	require.Equal(t, "Images 1 1\nContainers 1 0\nLocal Volumes 1 1\nBuild Cache 0 0\n",
		p.docker("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"))
	out := p.docker("system", "df", "-v")
	for _, text := range []string{"busybox", "user", "data"} {
		require.Contains(t, out, text)
	}
}
