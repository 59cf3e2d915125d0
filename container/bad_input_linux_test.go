package container_test

import (
	"math"
	"os"
	"path/filepath"
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

// TestBadInput: what cannot be is an error that names the field, before or after something was made, and nothing is left: no control
// group, nothing where a link leads; mounts and descriptors are looked for when all tests have run.
func TestBadInput(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	type C = container.Container
	type M = container.IDMapping
	maps := func(uids, gids []M) func(*C) {
		return func(c *C) { c.UIDMappings, c.GIDMappings = uids, gids }
	}
	user := func(name string) func(*C) { return func(c *C) { c.User = name } }
	outside := t.TempDir()
	for name, x := range map[string]struct {
		change func(*C)
		want   string
	}{
		"maps that overlap inside":        {maps([]M{{HostID: 100000, Size: 10}, {ContainerID: 9, HostID: 200000, Size: 1}}, idMaps), "check UIDMappings: "},
		"maps that overlap outside":       {maps(idMaps, []M{{HostID: 100000, Size: 10}, {ContainerID: 10, HostID: 100009, Size: 1}}), "check GIDMappings: "},
		"a map beyond the last id":        {maps([]M{{HostID: math.MaxUint32, Size: 2}}, idMaps), "check UIDMappings: "},
		"a map of a great size":           {maps([]M{{HostID: 1, Size: math.MaxUint32}}, idMaps), "check UIDMappings: "},
		"a map of nothing":                {maps(idMaps, []M{{HostID: 1}}), "check User.GID: the id 0"},
		"a map without root":              {maps([]M{{ContainerID: 1, HostID: 1, Size: 1}}, idMaps), "check User.UID: the id 0"},
		"user -1":                         {user("-1"), "look up user -1"},
		"user 4294967295":                 {user("4294967295"), "look up user 4294967295"},
		"user 4294967296":                 {user("4294967296"), "look up user 4294967296"},
		"group -1":                        {user("0:-1"), "look up user 0:-1"},
		"group 4294967296":                {user("0:4294967296"), "look up user 0:4294967296"},
		"supplementary group":             {func(c *C) { c.Groups = []string{"4294967296"} }, "4294967296"},
		"no user of the namespace":        {func(c *C) { c.UIDMappings, c.GIDMappings, c.User = idMaps, idMaps, "65536" }, "check User.UID: the id 65536"},
		"rlimit above the hard one":       {func(c *C) { c.Rlimits = []container.Rlimit{{Resource: 7, Soft: 2, Hard: 1}} }, "Rlimits[0]"},
		"no rlimit":                       {func(c *C) { c.Rlimits = []container.Rlimit{{Resource: 99}} }, "Rlimits[0]"},
		"mount target that is a loop":     {func(c *C) { c.Mounts = []container.Mount{{Type: "tmpfs", Target: "/loop/x"}} }, "/loop"},
		"mount target below a file":       {func(c *C) { c.Mounts = []container.Mount{{Type: "tmpfs", Target: "/etc/passwd/x"}} }, "/etc/passwd"},
		"proc over a link that leads out": {func(c *C) { c.Mounts = []container.Mount{{Type: "proc", Target: "/out"}} }, "/out"},
		"unknown namespace":               {func(c *C) { c.Namespaces.IPC.Host, c.Namespaces.IPC.Join = true, os.Stdin }, "Namespaces.IPC"},
		"absurd limit":                    {func(c *C) { c.PidsLimit = math.MaxInt64 }, "PidsLimit"},
		"negative limit":                  {func(c *C) { c.Memory = -2 }, "Memory"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "echo")
			dir := c.Root.String()
			require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
			require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
			x.change(c)
			err := c.Run(t.Context())
			var start *container.StartError
			require.ErrorAs(t, err, &start)
			require.ErrorContains(t, err, x.want)
			require.Empty(t, groupFolders([]string{c.Cgroup}))
			left, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
	// A command in a container, too, and that goes on.
	c := newContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	for _, name := range []string{"-1", "4294967296", "0:4294967295"} {
		p := c.Command("echo")
		p.User = name
		require.ErrorContains(t, p.Run(t.Context()), "look up user "+name)
	}
	p := c.Command("id")
	p.Rlimits = []container.Rlimit{{Resource: 7, Soft: 2, Hard: 1}}
	require.ErrorContains(t, p.Run(t.Context()), "Rlimits[0]")
	output2(t, c.Command("id"))
	require.NoError(t, c.Kill())
	require.Error(t, c.Wait(t.Context()))
}
