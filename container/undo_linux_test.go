package container_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// What is left after a start that failed is found by the leak checks after all tests: descriptors, goroutines, mounts,
// groups, processes. Here each kind of failure is made.
func TestFailedStartsLeaveNothing(t *testing.T) {
	closed, err := os.Open(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	type C = container.Container
	for name, x := range map[string]struct {
		change func(*C)
		step   string
	}{
		"no root":          {func(c *C) { c.Root = namespace.Dir("/no/such/root") }, "look up user"},
		"root is a file":   {func(c *C) { c.Root = namespace.Dir("/etc/hostname") }, "look up user"},
		"closed stdin":     {func(c *C) { c.Stdin = closed }, "open"},
		"closed extra":     {func(c *C) { c.ExtraFiles = []*os.File{closed} }, "open"},
		"no device":        {func(c *C) { c.Devices = []container.Device{{Source: "/dev/no-such"}} }, "look up device"},
		"no file system":   {func(c *C) { c.Mounts = []container.Mount{{Type: "nofs", Target: "/a"}} }, "fsopen"},
		"no sysctl":        {func(c *C) { c.Sysctls = map[string]string{"net.no.such": "1"} }, "openat2"},
		"no such cpu":      {func(c *C) { c.CpusetCPUs = "4000" }, "limit CpusetCPUs"},
		"closed namespace": {func(c *C) { c.Namespaces.Network.Join = closed }, "open"},
		"no namespace":     {func(c *C) { c.Namespaces.Network.Join = os.Stdin }, "setns"},
		"no folder":        {func(c *C) { c.Dir = "/no/such" }, "chdir"},
		"no command":       {func(c *C) { c.Args = []string{"no-such"} }, "execve"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "echo")
			_, err := c.StdoutPipe()
			require.NoError(t, err)
			x.change(c)
			err = c.Start(t.Context())
			var start *container.StartError
			require.ErrorAs(t, err, &start)
			require.Equal(t, x.step, start.Step, "%v", err)
			require.Empty(t, groupFolders([]string{c.Cgroup}))
		})
	}
}

func TestGroupInUse(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	d := newContainer(t, "echo")
	d.Cgroup = c.Cgroup
	err := d.Run(t.Context())
	require.ErrorIs(t, err, os.ErrExist)
	require.NoError(t, c.Stop(t.Context()))
}

func TestContextEndsDuringSetup(t *testing.T) {
	c := newContainer(t, "write", "/tmp/ran", "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c.Setup = func(ctx context.Context, pid int) error {
		<-ctx.Done()
		return ctx.Err()
	}
	require.ErrorIs(t, c.Start(ctx), context.DeadlineExceeded)
	require.NoFileExists(t, filepath.Join(c.Root.String(), "tmp/ran"))
	require.Empty(t, groupFolders([]string{c.Cgroup}))
}

// A container that fills its root with processes is taken down whole.
func TestKillWhole(t *testing.T) {
	testenv.ReapOrphans(t)
	c := newContainer(t, "daemon")
	c.Namespaces.PID.Host = true
	ready(t, c)
	root := c.Root.String()
	require.Len(t, rooted(t, root), 2)
	require.NoError(t, c.Kill())
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	require.Empty(t, rooted(t, root))
}
