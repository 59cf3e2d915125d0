package container_test

import (
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// TestJoinOfNoNamespace joins, for each kind of namespace, a file that is none and a namespace of another kind.
func TestJoinOfNoNamespace(t *testing.T) {
	testenv.RequireRoot(t)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	mount, err := os.Open("/proc/self/ns/mnt")
	require.NoError(t, err)
	defer mount.Close()
	for name, of := range map[string]func(*namespace.Namespaces) *namespace.Namespace{
		"PID":     func(n *namespace.Namespaces) *namespace.Namespace { return &n.PID },
		"IPC":     func(n *namespace.Namespaces) *namespace.Namespace { return &n.IPC },
		"UTS":     func(n *namespace.Namespaces) *namespace.Namespace { return &n.UTS },
		"Network": func(n *namespace.Namespaces) *namespace.Namespace { return &n.Network },
		"Cgroup":  func(n *namespace.Namespaces) *namespace.Namespace { return &n.Cgroup },
		"User":    func(n *namespace.Namespaces) *namespace.Namespace { return &n.User },
		"Time":    func(n *namespace.Namespaces) *namespace.Namespace { return &n.Time },
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []*os.File{null, mount} {
				c := newContainer(t, "echo")
				of(&c.Namespaces).Join = file
				err := c.Run(t.Context())
				var start *container.StartError
				require.ErrorAs(t, err, &start)
				require.Equal(t, "setns", start.Step, "%v", err)
				require.Equal(t, strings.ToLower(name)+" namespace", start.Path)
				require.ErrorIs(t, err, syscall.EINVAL)
				require.Empty(t, groupFolders([]string{c.Cgroup}))
			}
		})
	}
}

// TestAbsurdLimits: what the kernel refuses is named by its field, and nothing is left.
func TestAbsurdLimits(t *testing.T) {
	testenv.RequireRoot(t)
	type C = container.Container
	for name, x := range map[string]struct {
		change func(*C)
		want   string
	}{
		"pids":     {func(c *C) { c.PidsLimit = 1 << 40 }, "PidsLimit"},
		"memory":   {func(c *C) { c.Memory = math.MaxInt64 }, ""}, // as none
		"cpuset":   {func(c *C) { c.CpusetMems = "1023" }, "limit CpusetMems"},
		"nofile":   {func(c *C) { c.Rlimits = []container.Rlimit{{Resource: 7, Soft: 1, Hard: namespace.RlimitInfinity}} }, "prlimit64 "},
		"above":    {func(c *C) { c.Rlimits = []container.Rlimit{{Resource: 7, Soft: 2, Hard: 1}} }, "Rlimits[0]"},
		"oom":      {func(c *C) { adj := -1001; c.OOMScoreAdj = &adj }, "OOMScoreAdj"},
		"priority": {func(c *C) { c.CPUShares = 1 << 60 }, "CPUShares"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "echo")
			x.change(c)
			err := c.Run(t.Context())
			if x.want == "" {
				require.NoError(t, err)
				return
			}
			var start *container.StartError
			require.ErrorAs(t, err, &start)
			require.ErrorContains(t, err, x.want)
			require.Empty(t, groupFolders([]string{c.Cgroup}))
		})
	}
}
