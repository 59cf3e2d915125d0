package engine

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
)

// TestHostsFollowNetworks: the hosts file of a container that runs has the addresses that it has by now, whoever serves its networks,
// and what its programs wrote there stays.
func TestHostsFollowNetworks(t *testing.T) {
	kinds := []string{"supervised", "foreground", "alone"}
	if testing.Short() {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { testHostsFollowNetworks(t, kind) })
	}
}

func testHostsFollowNetworks(t *testing.T, kind string) {
	e := newEngine(t)
	for _, name := range []string{"net", "late"} {
		_, err := e.CreateNetwork(t.Context(), name, nil)
		require.NoError(t, err)
	}
	cfg := Config{Image: pullBusybox(t, e), Name: "box", Hostname: "box", Network: "net", ExtraHosts: []string{"other:10.9.8.7"}}
	const script = "echo 10.1.2.3 mine >>/etc/hosts; printf '10.1.2.4 unfinished' >>/etc/hosts; echo done >/etc/hostname; cat"
	if kind == "foreground" {
		cfg.Command = []string{"sh", "-c", script}
		running(t, e, cfg)
	} else {
		if kind == "supervised" {
			defer supervise(t, e, 0)()
		}
		detached(t, e, &cfg, script+"; exec sleep 600")
		defer func() { require.NoError(t, e.Remove(t.Context(), "box", &RemoveOptions{Force: true})) }()
	}
	c, err := e.Inspect(t.Context(), "box")
	require.NoError(t, err)
	require.Equal(t, kind == "supervised", c.State.Supervised)
	etc := func(name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/etc/%s", c.State.Pid, name))
		require.NoError(t, err)
		return string(b)
	}
	require.Eventually(t, func() bool { return etc("hostname") == "done\n" }, time.Minute, 2*time.Millisecond)
	const first, others = localHosts + "10.9.8.7\tother\n", "10.1.2.3 mine\n10.1.2.4 unfinished"
	require.Equal(t, first+"172.17.0.2\tbox\n"+others, etc("hosts"))
	resolv := etc("resolv.conf")

	require.NoError(t, e.Connect(t.Context(), "box", &Connection{Network: "late"}))
	require.Equal(t, first+others+"\n172.17.0.2\tbox\n172.18.0.2\tbox\n", etc("hosts"))
	require.Len(t, mustInspect(t, e, c).Endpoints, 2)
	require.NoError(t, e.Disconnect(t.Context(), "box", "net"))
	require.Equal(t, first+others+"\n172.18.0.2\tbox\n", etc("hosts"))
	require.Len(t, mustInspect(t, e, c).Endpoints, 1)
	require.NoError(t, e.Disconnect(t.Context(), "box", "late"))
	require.Equal(t, first+others+"\n", etc("hosts"))
	require.Empty(t, mustInspect(t, e, c).Endpoints)
	require.Equal(t, resolv, etc("resolv.conf"))

	// What is no hosts file any more is nothing to be read whole into this program, nor in the way of networks.
	require.NoError(t, os.Truncate(fmt.Sprintf("/proc/%d/root/etc/hosts", c.State.Pid), 1<<30))
	require.NoError(t, e.Connect(t.Context(), "box", &Connection{Network: "late"}))
	st, err := os.Stat(e.path(c.ID, "hosts"))
	require.NoError(t, err)
	require.Equal(t, int64(1<<30), st.Size())
}

// TestEtcOfHostileImage: an image has links in the place of the files of /etc that the engine makes, to the host's files, to nowhere, and
// out of the root; the container has its own, and the host's stay as they are. What no file can be mounted at is an error.
func TestEtcOfHostileImage(t *testing.T) {
	testenv.RequireKernel(t, 5, 19)
	e := newEngine(t)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	host := t.TempDir()
	for _, name := range []string{"hosts", "resolv.conf", "hostname"} {
		require.NoError(t, os.WriteFile(filepath.Join(host, name), []byte("the host's"), 0o644))
	}
	up := strings.Repeat("../", 30)
	cat := []string{"sh", "-c", "for f in hosts resolv.conf hostname; do echo added >>/etc/$f; done; cat /etc/hosts /etc/resolv.conf /etc/hostname"}
	files := func(link func(name string) string) (l testimage.Layer) {
		for _, name := range []string{"hosts", "resolv.conf", "hostname"} {
			l = append(l, testimage.Entry{Name: "etc/" + name, Link: link(name)})
		}
		return l
	}
	mixed := files(func(name string) string {
		return map[string]string{"hosts": filepath.Join(host, name), "resolv.conf": "../run/made/" + name, "hostname": up + host + "/" + name}[name]
	})
	for kind, entries := range map[string]testimage.Layer{
		"mixed": mixed, "in-a-user-namespace": mixed, "folder": {{Name: "etc", Link: host}},
		"proc": files(func(name string) string { return "/proc/self/root" + host + "/" + name }),
	} {
		base := testimage.Busybox(t)
		if kind == "folder" { // no folder /etc, but a link in its place
			var l testimage.Layer
			for _, x := range base {
				if !strings.HasPrefix(x.Name, "etc/") {
					l = append(l, x)
				}
			}
			base = l
		}
		image := serve(t, e, kind, testimage.New(t, ocispec.ImageConfig{}, append(base, entries...)))
		cfg := Config{Image: image, Hostname: "box", Command: cat}
		if kind == "in-a-user-namespace" {
			cfg.UserMode = "auto"
		}
		c, err := e.Create(t.Context(), &cfg)
		require.NoError(t, err, kind)
		var out strings.Builder
		r, err := e.Start(t.Context(), c.ID, &StartOptions{Stdout: &out, Stderr: &out})
		if err == nil {
			require.NoError(t, r.Wait(t.Context()), kind+out.String())
			want := regexp.QuoteMeta(localHosts) + `172\.17\.0\.\d+\tbox\nadded\n` + regexp.QuoteMeta(r.Container().resolvConf()) + `added\nbox\nadded\n`
			require.Regexp(t, "^"+want+"$", out.String(), kind)
		}
		require.Equal(t, kind == "proc", err != nil, "%s: %v", kind, err) // it cannot be mounted over
		require.NoError(t, e.Remove(t.Context(), c.ID, nil))
		for _, name := range []string{"hosts", "resolv.conf", "hostname"} {
			text, err := os.ReadFile(filepath.Join(host, name))
			require.NoError(t, err)
			require.Equal(t, "the host's", string(text), kind)
		}
	}
	image := serve(t, e, "wrong", testimage.New(t, ocispec.ImageConfig{}, append(testimage.Busybox(t), testimage.Entry{Name: "etc/hosts/"})))
	_, err := e.Run(t.Context(), &Config{Image: image, Command: cat, AutoRemove: true}, &StartOptions{Stdout: io.Discard})
	require.ErrorContains(t, err, "/etc/hosts")
}

// TestEtcOfSharedNetwork: a container that shares another one's network has that one's name and files, which follow what it is connected
// to, and so has one that shares the network of the second.
func TestEtcOfSharedNetwork(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	first := detached(t, e, &Config{Image: image, Name: "first", Hostname: "box"}, "exec sleep 600")
	second := detached(t, e, &Config{Image: image, Name: "second", Network: "container:first"}, "exec sleep 600")
	third := detached(t, e, &Config{Image: image, Name: "third", Network: "container:second"}, "exec sleep 600")
	_, err := e.CreateNetwork(t.Context(), "late", nil)
	require.NoError(t, err)
	etc := func(c *Container, name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/etc/%s", mustInspect(t, e, c).State.Pid, name))
		require.NoError(t, err)
		return string(b)
	}
	same := func() {
		t.Helper()
		for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
			require.Equal(t, etc(first, name), etc(second, name))
			require.Equal(t, etc(first, name), etc(third, name))
		}
	}
	same()
	require.Contains(t, etc(second, "hosts"), "172.17.0.2\tbox\n")
	require.NoError(t, e.Connect(t.Context(), "first", &Connection{Network: "late"}))
	same()
	require.Contains(t, etc(third, "hosts"), "172.18.0.2\tbox\n")
	require.NoError(t, e.Disconnect(t.Context(), "first", "bridge"))
	same()
	require.NotContains(t, etc(third, "hosts"), "172.17.0.2")
	require.Equal(t, "box", second.Hostname)
	require.Contains(t, mustInspect(t, e, third).Env, "HOSTNAME=box")
	for _, c := range []*Container{third, second, first} {
		require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
	}
	_, err = e.Create(t.Context(), &Config{Image: image, Network: "container:first"})
	require.ErrorContains(t, err, "No such container")
}
