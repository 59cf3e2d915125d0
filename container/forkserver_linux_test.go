package container_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// forkServers returns how many fork servers the container has.
func forkServers(t *testing.T, c *container.Container) int {
	t.Helper()
	return strings.Count(output2(t, c.Command("comms")), "forkserver\n")
}

// Commands are what they are without a fork server, and those that cannot be made by it are started nevertheless.
func TestForkServer(t *testing.T) {
	c := newContainer(t, "trap")
	c.ForkServer = true
	c.Hostname, c.Dir, c.Env = "box", "/tmp", []string{"A=1"}
	ready(t, c)
	for range 2 {
		require.Regexp(t, `^0 0 \[0 3000\] /tmp box \d+\n$`, output2(t, c.Command("id")))
		p := c.Command("id")
		p.User, p.Dir = "app", "/home/app"
		require.Regexp(t, `^1000 1000 \[1000 2000 3000\] /home/app box \d+\n$`, output2(t, p))
		p = c.Command("env")
		p.Env = append(p.Env, "B=2")
		require.True(t, strings.HasPrefix(output2(t, p), "A=1\nB=2\nPATH="))
		p = c.Command("cat")
		p.Stdin = strings.NewReader("through")
		require.Equal(t, "through", output2(t, p))
		require.Equal(t, "CapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n",
			output2(t, c.Command("status", "CapBnd", "NoNewPrivs", "Seccomp", "Seccomp_filters")))
		for line := range strings.Lines(output2(t, c.Command("read", "/proc/self/cgroup"))) {
			require.Regexp(t, `^\d+:[^:]*:/\n$`, line)
		}
	}
	require.Equal(t, 1, forkServers(t, c))
	var exit *container.ExitError
	require.ErrorAs(t, c.Command("exit", "5").Run(t.Context()), &exit)
	require.Equal(t, 5, exit.Code)
	var start *container.StartError
	require.ErrorAs(t, c.Command("nothing").Run(t.Context()), &start)
	require.ErrorIs(t, start, syscall.ENOENT)
	require.NoError(t, c.Pause(t.Context()))
	require.ErrorAs(t, c.Command("id").Run(t.Context()), &start)
	require.NoError(t, c.Resume())

	// What ends the server, the container say, costs no command its start.
	for range 6 {
		require.NotEmpty(t, output2(t, c.Command("end", "forkserver")))
	}
	require.Equal(t, "hello\n", output2(t, c.Command("echo", "hello")))
	require.LessOrEqual(t, forkServers(t, c), 1)
}

// A fork server ends with its container, whatever way that ends, and is one of the processes that PidsLimit counts.
func TestForkServerEnds(t *testing.T) {
	for name, end := range map[string]func(*container.Container) error{
		"kill": (*container.Container).Kill,
		"stop": func(c *container.Container) error { return c.Stop(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "trap")
			c.ForkServer = true
			ready(t, c)
			p := c.Command("sleep", "1h")
			require.NoError(t, p.Start(t.Context()))
			require.NoError(t, end(c))
			var exit *container.ExitError
			require.ErrorAs(t, p.Wait(t.Context()), &exit)
			_ = c.Wait(t.Context())
			require.Error(t, c.Command("id").Run(t.Context()))
		})
	}
	c := newContainer(t, "trap")
	c.ForkServer, c.Namespaces.PID = true, namespace.Namespace{Host: true}
	var start *container.StartError
	require.ErrorAs(t, c.Start(t.Context()), &start)
	require.Equal(t, "ForkServer", start.Path)
}
