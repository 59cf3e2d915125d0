package container_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["ordinary-pool"] = ordinaryPool }

// TestPoolInUserNamespace: containers of a pool are in user namespaces, new and joined, as those that were started whole.
func TestPoolInUserNamespace(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	first := newUserContainer(t, "sleep", "1m")
	require.NoError(t, first.Start(t.Context()))
	root := testenv.NewRootfs(t, "who", "status", "tty", "sleep", "mkdir")
	keys := []string{"status", "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn", "Uid", "Groups"}
	for name, user := range map[string]func(*container.Container){
		"new": func(c *container.Container) {
			c.UIDMappings, c.GIDMappings = idMaps, idMaps
			c.Mounts = append(c.Mounts, container.Mount{Type: "tmpfs", Target: "/data"})
		},
		"joined": func(c *container.Container) { c.Namespaces.User = first.Namespace() },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var groups []string
			make := func(context.Context) (*container.Container, error) {
				c := container.New(namespace.Dir(root))
				user(c)
				c.Cgroup = testenv.CgroupName(t) + "-pool"
				mu.Lock()
				defer mu.Unlock()
				groups = append(groups, c.Cgroup)
				return c, nil
			}
			p := &container.Pool{Size: 2, New: make}
			require.NoError(t, p.Fill(t.Context()))
			run := func(change func(*container.Container)) (warm, whole string) {
				c, err := p.Get(t.Context())
				require.NoError(t, err)
				change(c)
				out, err := c.Output(t.Context())
				require.NoError(t, err, exitText(err))
				d, err := make(t.Context())
				require.NoError(t, err)
				change(d)
				same, err := d.Output(t.Context())
				require.NoError(t, err, exitText(err))
				return string(out), string(same)
			}
			for _, id := range []string{"", "app"} {
				warm, whole := run(func(c *container.Container) { c.Args, c.User = []string{"who"}, id })
				require.Equal(t, whole, warm)
				require.Contains(t, warm, "stdout <nil>\n")
			}
			warm, whole := run(func(c *container.Container) { c.Args = keys })
			require.Equal(t, whole, warm)
			warm, _ = run(func(c *container.Container) {
				c.Args, c.TTY, c.TTYSize, c.Stdin = []string{"tty"}, true, namespace.WinSize{Rows: 24, Cols: 80}, strings.NewReader("one\n")
			})
			require.Contains(t, warm, "tty /dev/pts/0 [24 80]\r\n")

			c, err := p.Get(t.Context())
			require.NoError(t, err)
			c.Args = []string{"sleep", "1m"}
			require.NoError(t, c.Start(t.Context()))
			in := c.Command("who")
			in.User = "app"
			out, err := in.Output(t.Context())
			require.NoError(t, err, exitText(err))
			require.Contains(t, string(out), "who 1000 1000 [1000 2000 3000] [0 100000 65536]\n")
			require.NoError(t, c.Kill())
			require.Error(t, c.Wait(t.Context()))
			require.NoError(t, p.Close())
			require.Empty(t, groupFolders(groups))
		})
	}
	require.NoError(t, first.Kill())
	require.Error(t, first.Wait(t.Context()))
}

// A container whose set-up fails in the user namespace leaves nothing, and the pool says why.
func TestPoolInUserNamespaceFails(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	root := newUserContainer(t).Root.String()
	for want, change := range map[string]func(*container.Container){
		"check UIDMappings": func(c *container.Container) { c.UIDMappings = append(c.UIDMappings, c.UIDMappings...) },
		"sysctl":            func(c *container.Container) { c.Sysctls = map[string]string{"kernel.msgmax": "no number"} },
		"mount": func(c *container.Container) {
			c.Mounts = append(c.Mounts, container.Mount{Type: "tmpfs", Target: "/x", Data: "size=x"})
		},
	} {
		group := testenv.CgroupName(t) + "-pool"
		p := &container.Pool{Size: 1, New: func(context.Context) (*container.Container, error) {
			c := container.New(namespace.Dir(root))
			c.UIDMappings, c.GIDMappings, c.Cgroup = idMaps, idMaps, group
			change(c)
			return c, nil
		}}
		var start *container.StartError
		require.ErrorAs(t, p.Fill(t.Context()), &start, want)
		require.NoError(t, p.Close())
		require.Empty(t, groupFolders([]string{group}), want)
	}
}

// ordinaryPool is an ordinary user's program with a pool; its argument is the root.
func ordinaryPool(args []string) int {
	ctx := context.Background()
	p := &container.Pool{Size: 2, New: func(context.Context) (*container.Container, error) {
		return container.New(namespace.Dir(args[1])), nil
	}}
	err := p.Fill(ctx)
	fmt.Println("fill:", err, p.Ready())
	for _, user := range []string{"", "app"} {
		c, err := p.Get(ctx)
		if err != nil {
			fmt.Println("get:", err)
			return 1
		}
		c.Args, c.User = []string{"who"}, user
		out, err := c.CombinedOutput(ctx)
		fmt.Printf("%s%v\n", out, exitText(err))
	}
	fmt.Println("close:", p.Close())
	return 0
}

// TestPoolOrdinaryUser has a pool without root, with and without subordinate ids.
func TestPoolOrdinaryUser(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	for _, sub := range []bool{true, false} {
		u := testenv.NewUser(t, sub)
		b, err := u.Command(t, "ordinary-pool", testenv.NewRootfs(t, "who")).CombinedOutput()
		require.NoError(t, err, string(b))
		out := string(b)
		require.Contains(t, out, "fill: <nil> 2\n")
		require.Contains(t, out, "who 0 0 ")
		require.Contains(t, out, "close: <nil>\n")
		if sub {
			require.Contains(t, out, fmt.Sprintf("who 1000 1000 [1000 2000 3000] [0 %d 1 1 %d 65536]\n", u.ID, u.FirstSub))
			require.Equal(t, 2, strings.Count(out, "stdout <nil>\n"), out)
		} else {
			require.Contains(t, out, "User.UID: the id 1000, the process's user, is not in the map")
		}
	}
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
