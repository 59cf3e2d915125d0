package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// newPool returns a pool of containers in one root, filled; groups has the names of the control groups that were made.
func newPool(t *testing.T, size int) (p *container.Pool, groups func() []string) {
	t.Helper()
	root := newContainer(t).Root
	var mu sync.Mutex
	var names []string
	p = &container.Pool{Size: size, New: func(context.Context) (*container.Container, error) {
		c := container.New(namespace.Dir(root.String())) // the pool closes the roots of those that nobody gets
		c.Cgroup, c.Hostname = testenv.CgroupName(t), "warm"
		c.Memory = 256 << 20
		mu.Lock()
		defer mu.Unlock()
		names = append(names, c.Cgroup)
		return c, nil
	}}
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.Zero(t, p.Ready())
	})
	require.NoError(t, p.Fill(t.Context()))
	return p, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), names...)
	}
}

func TestPool(t *testing.T) {
	p, _ := newPool(t, 2)
	require.Equal(t, 2, p.Ready())
	seen := map[string]bool{}
	for range 5 { // more than there were
		c, err := p.Get(t.Context())
		require.NoError(t, err)
		c.Args, c.User, c.Dir, c.Env = []string{"id"}, "app", "/tmp", []string{"A=1"}
		out, err := c.Output(t.Context())
		require.NoError(t, err, "%s", out)
		require.Equal(t, "1000 1000 [1000 2000 3000] /tmp warm 1\n", string(out))
		require.Positive(t, c.State.Cgroup.Memory.Peak)
		require.Eventually(t, func() bool { return len(groupFolders([]string{c.Cgroup})) == 0 }, time.Minute, time.Millisecond)
		require.False(t, seen[c.Cgroup], "each is used once")
		seen[c.Cgroup] = true
	}
}

// A container of a pool is confined as one that was started whole.
func TestPoolIsolation(t *testing.T) {
	p, _ := newPool(t, 1)
	keys := []string{"status", "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn", "Uid", "Groups"}
	whole, err := newContainer(t, keys...).Output(t.Context())
	require.NoError(t, err)
	c, err := p.Get(t.Context())
	require.NoError(t, err)
	c.Args = keys
	warm, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, string(whole), string(warm))

	c, err = p.Get(t.Context())
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	c.Args, c.ExtraFiles = []string{"fds"}, []*os.File{r, w}
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "0\n1\n2\n3\n4\n", string(out), "and no other descriptor")
}

// Everything that a Container can do works with one of a pool.
func TestPoolLife(t *testing.T) {
	p, _ := newPool(t, 1)
	get := func(args ...string) *container.Container {
		c, err := p.Get(t.Context())
		require.NoError(t, err)
		c.Args = args
		return c
	}
	c := get("trap")
	ready(t, c)
	require.Regexp(t, `^0 0 \[0 3000\] / warm \d+\n$`, output2(t, c.Command("id")))
	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.Resume())
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.Close(), "it does nothing")

	c = get("cat")
	c.Stdin = strings.NewReader("through")
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "through", string(out))

	c = get("tty")
	c.TTY, c.TTYSize, c.Stdin = true, namespace.WinSize{Rows: 24, Cols: 80}, strings.NewReader("one\n")
	out, err = c.Output(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(out), "tty /dev/pts/0 [24 80]\r\n")

	c = get("exit", "5")
	seen := 0
	c.Setup = func(_ context.Context, pid int) error {
		seen = pid
		return nil
	}
	var exit *container.ExitError
	require.ErrorAs(t, c.Run(t.Context()), &exit)
	require.Equal(t, 5, exit.Code)
	require.Equal(t, c.Pid(), seen)

	c = get("sleep", "1h")
	pipe, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	_, err = io.ReadFull(pipe, make([]byte, len("sleeping\n")))
	require.NoError(t, err)
	require.NoError(t, c.Kill())
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
}

func TestPoolFailures(t *testing.T) {
	p, groups := newPool(t, 1)
	var start *container.StartError
	why := errors.New("no interface")
	for name, x := range map[string]struct {
		change func(*container.Container)
		step   string
	}{
		"no command": {func(c *container.Container) {}, "check"},
		"memory":     {func(c *container.Container) { c.Args, c.Memory = []string{"id"}, 128<<20 }, "check"},
		"oom score":  {func(c *container.Container) { c.Args, c.OOMScoreAdj = []string{"id"}, new(int) }, "check"},
		"user":       {func(c *container.Container) { c.Args, c.User = []string{"id"}, "nobody-there" }, "look up user"},
		"executable": {func(c *container.Container) { c.Args = []string{"nothing"} }, "execve"},
		"folder":     {func(c *container.Container) { c.Args, c.Dir = []string{"id"}, "/no/such" }, "chdir"},
		"setup": {func(c *container.Container) {
			c.Args, c.Setup = []string{"id"}, func(context.Context, int) error { return why }
		}, "set up"},
		"closed":     {func(c *container.Container) { require.NoError(t, c.Close()) }, ""},
		"many files": {func(c *container.Container) { c.Args, c.ExtraFiles = []string{"id"}, make([]*os.File, 60) }, "check"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := p.Get(t.Context())
			require.NoError(t, err)
			x.change(c)
			err = c.Start(t.Context())
			require.Error(t, err)
			if x.step != "" {
				require.ErrorAs(t, err, &start)
				require.Equal(t, x.step, start.Step, "%v", err)
			}
			require.Empty(t, groupFolders([]string{c.Cgroup}))
			require.NoError(t, c.Close())
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := p.Get(t.Context())
	require.NoError(t, err)
	cancel()
	c.Args = []string{"id"}
	require.ErrorIs(t, c.Run(ctx), context.Canceled)

	require.NoError(t, p.Close())
	require.Empty(t, groupFolders(groups()))
	_, err = p.Get(t.Context())
	require.ErrorIs(t, err, container.ErrPoolClosed)
	require.ErrorIs(t, p.Fill(t.Context()), container.ErrPoolClosed)

	_, err = (&container.Pool{}).Get(t.Context())
	require.ErrorAs(t, err, &start)
	require.Equal(t, "Pool.New", start.Path)
	q := &container.Pool{Size: 2000, New: func(context.Context) (*container.Container, error) { return nil, nil }}
	require.ErrorContains(t, q.Fill(t.Context()), "Pool.Size")
	q.Size = 1
	require.ErrorContains(t, q.Fill(t.Context()), "neither a container nor an error")
	q.New = func(context.Context) (*container.Container, error) { return nil, why }
	require.ErrorIs(t, q.Fill(t.Context()), why)
	_, err = q.Get(t.Context())
	require.ErrorIs(t, err, why)
	require.NoError(t, q.Close())
}

// One that was killed while it waited is not handed out.
func TestPoolReplacesTheDead(t *testing.T) {
	testenv.RequireRoot(t)
	p, groups := newPool(t, 1)
	dead := groups()[0]
	require.NoError(t, killGroup(dead))
	require.Eventually(t, func() bool {
		c, err := p.Get(t.Context())
		require.NoError(t, err)
		defer c.Close()
		return c.Cgroup != dead
	}, time.Minute, time.Millisecond)
}

// killGroup kills the processes of a group.
func killGroup(name string) error {
	for _, dir := range groupFolders([]string{name}) {
		b, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil {
			return err
		}
		for _, pid := range strings.Fields(string(b)) {
			n, err := strconv.Atoi(pid)
			if err != nil || n == 0 {
				return fmt.Errorf("process %s: %w", pid, err)
			}
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	return nil
}

// Many goroutines share a pool.
func TestPoolManyAtOnce(t *testing.T) {
	p, _ := newPool(t, 4)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				c, err := p.Get(t.Context())
				if err == nil {
					c.Args = []string{"exit", "0"}
					err = c.Run(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// The init of a container with Init is there in a pool's, too.
func TestPoolInit(t *testing.T) {
	root := newContainer(t).Root
	p := &container.Pool{Size: 1, New: func(context.Context) (*container.Container, error) {
		c := container.New(namespace.Dir(root.String()))
		c.Cgroup, c.Init = testenv.CgroupName(t), true
		return c, nil
	}}
	defer func() { require.NoError(t, p.Close()) }()
	run := func(args ...string) (string, error) {
		c, err := p.Get(t.Context())
		require.NoError(t, err)
		c.Args = args
		out, err := c.Output(t.Context())
		return string(out), err
	}
	out, err := run("orphans")
	require.NoError(t, err)
	require.Equal(t, "pid 2 left 0\n", out)
	c, err := p.Get(t.Context())
	require.NoError(t, err)
	c.Args = []string{"sleep", "1m"}
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Signal(syscall.SIGTERM)) // which process 1 would ignore
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.Equal(t, 128+15, exit.Code)
	_, err = run("nothing")
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, syscall.ENOENT)
}
