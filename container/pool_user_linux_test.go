package container_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// TestPoolInUserNamespace: a pool has no containers in user namespaces of their own, says so, and leaves nothing.
func TestPoolInUserNamespace(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	c := newUserContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	for _, change := range []func(*container.Container){
		func(c *container.Container) { c.UIDMappings, c.GIDMappings = idMaps, idMaps },
		func(d *container.Container) { d.Namespaces.User = c.Namespace() },
	} {
		var mu sync.Mutex
		var groups []string
		p := &container.Pool{Size: 1, New: func(context.Context) (*container.Container, error) {
			c := container.New(namespace.Dir(c.Root.String()))
			change(c)
			c.Cgroup = testenv.CgroupName(t) + "-pool"
			mu.Lock()
			defer mu.Unlock()
			groups = append(groups, c.Cgroup)
			return c, nil
		}}
		for _, err := range []error{p.Fill(t.Context()), func() error { _, err := p.Get(t.Context()); return err }()} {
			require.ErrorContains(t, err, "check Namespaces.User: a process that is set up ahead, as those of a pool are, is in the "+
				"program's user namespace")
		}
		require.NoError(t, p.Close())
		require.NotEmpty(t, groups)
		require.Empty(t, groupFolders(groups))
	}
	require.NoError(t, c.Kill())
	require.Error(t, c.Wait(t.Context()))
}

// TestSeccompNotifyInUserNamespace has the host answer for a container in a user namespace, and for commands executed in it.
func TestSeccompNotifyInUserNamespace(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	for _, privileges := range []bool{false, true} {
		c := newUserContainer(t, "mkdir", "/elsewhere")
		c.Seccomp, c.SeccompNotify, c.NewPrivileges = notifying(), answer(c.Root.String()), privileges
		out, _ := c.Output(t.Context())
		require.Equal(t, "mkdir /elsewhere: disk quota exceeded\n", string(out))

		c = newUserContainer(t, "sleep", "1m")
		c.Seccomp, c.SeccompNotify, c.NewPrivileges = notifying(), answer(c.Root.String()), privileges
		require.NoError(t, c.Start(t.Context()))
		in := c.Command("mkdir", "/elsewhere")
		in.User = "app"
		out, _ = in.Output(t.Context())
		require.Equal(t, "mkdir /elsewhere: disk quota exceeded\n", string(out))
		require.NoError(t, c.Kill())
		require.Error(t, c.Wait(t.Context()))
	}
}
