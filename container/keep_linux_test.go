package container_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// kept is the container that the tests leave alone and find again.
func kept(root, dir, group string, args ...string) *container.Container {
	c := container.New(namespace.Dir(root), args...)
	c.Cgroup, c.Memory = group, 64<<20
	c.Keep = &container.Keep{Dir: dir, Stdin: true}
	return c
}

// leaver starts a container that outlives it, and ends. args are the root, the folder, the group and the command.
func leaver(args []string) int {
	if err := kept(args[1], args[2], args[3], args[4:]...).Start(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// leave makes another program start a container and end.
func leave(t *testing.T, args ...string) (root, dir, group string) {
	t.Helper()
	return leaveBy(t, "leaver", args...)
}

func leaveBy(t *testing.T, program string, args ...string) (root, dir, group string) {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	root, dir, group = testenv.NewRootfs(t, "cat", "echo", "exit", "hog", "sleep"), t.TempDir(), testenv.CgroupName(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Args = append([]string{program, root, dir, group}, args...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return root, dir, group
}

func logged(t *testing.T, dir string) string {
	t.Helper()
	r, err := container.OpenLog(dir)
	require.NoError(t, err)
	defer r.Close()
	var b bytes.Buffer
	for {
		f, err := r.Follow(t.Context())
		if err == io.EOF {
			return b.String()
		}
		require.NoError(t, err)
		b.Write(f.Data)
	}
}

func TestAdopt(t *testing.T) {
	root, dir, group := leave(t, "cat")
	c := kept(root, dir, group, "cat")
	require.NoError(t, c.Adopt(t.Context()))
	require.Error(t, c.Adopt(t.Context()), "twice")
	out, err := c.Command("echo", "inside").Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "inside\n", string(out))
	s, err := c.Stats()
	require.NoError(t, err)
	require.NotNil(t, s)
	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.Resume())
	in, err := c.Input(t.Context())
	require.NoError(t, err)
	_, err = in.WriteString("hello\n")
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.NoError(t, c.CloseInput(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.NotZero(t, c.State.MaxRSS)
	require.NotNil(t, c.State.Cgroup)
	require.Equal(t, "hello\n", logged(t, dir))
	require.Empty(t, c.CgroupPaths())
}

// Whoever adopts a container that another one is still setting up executes nothing in it: it would be outside.
func TestCommandAwaitsSetUp(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	root, dir, group := testenv.NewRootfs(t, "echo", "sleep"), t.TempDir(), testenv.CgroupName(t)
	first, there, goOn := kept(root, dir, group, "sleep", "1m"), make(chan struct{}), make(chan struct{})
	first.Setup = func(context.Context, int) error {
		close(there)
		<-goOn
		return nil
	}
	started := make(chan error, 1)
	go func() { started <- first.Start(t.Context()) }()
	<-there
	second := kept(root, dir, group, "sleep", "1m")
	require.NoError(t, second.Adopt(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	out, err := second.Command("echo", "outside").Output(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, out)
	close(goOn)
	require.NoError(t, <-started)
	out, err = second.Command("echo", "inside").Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "inside\n", string(out))
	require.NoError(t, first.Kill())
	_ = second.Wait(t.Context())
	_ = first.Wait(t.Context())
}

// The status of a container that ended while no program was there is exact.
func TestAdoptEnded(t *testing.T) {
	root, dir, group := leave(t, "exit", "42")
	require.Empty(t, logged(t, dir))
	c := kept(root, dir, group, "exit", "42")
	require.NoError(t, c.Adopt(t.Context()))
	var exit *container.ExitError
	require.True(t, errors.As(c.Wait(t.Context()), &exit))
	require.Equal(t, 42, exit.Code)
	require.WithinDuration(t, time.Now(), exit.Ended, time.Minute)
	require.False(t, exit.OOMKilled)
}

func TestAdoptOOMKilled(t *testing.T) {
	root, dir, group := leave(t, "hog", "256")
	logged(t, dir)
	c := kept(root, dir, group, "hog", "256")
	require.NoError(t, c.Adopt(t.Context()))
	var exit *container.ExitError
	require.True(t, errors.As(c.Wait(t.Context()), &exit))
	require.True(t, exit.OOMKilled)
}

func TestStopAdopted(t *testing.T) {
	root, dir, group := leave(t, "sleep")
	c := kept(root, dir, group, "sleep")
	require.NoError(t, c.Adopt(t.Context()))
	require.NoError(t, c.Stop(t.Context()))
	var exit *container.ExitError
	require.True(t, errors.As(c.Wait(t.Context()), &exit))
}

// What was bound when the container was started need not be there any more.
func TestAdoptWithoutSource(t *testing.T) {
	root, dir, group := leave(t, "sleep")
	c := kept(root, dir, group, "sleep")
	c.Mounts = []container.Mount{container.Bind(t.TempDir()+"/gone", "/mnt")}
	require.NoError(t, c.Adopt(t.Context()))
	require.NoError(t, c.Stop(t.Context()))
}

func TestKeepRefuses(t *testing.T) {
	for field, change := range map[string]func(*container.Container){
		"Keep":   func(c *container.Container) { c.Stdout = io.Discard },
		"Cgroup": func(c *container.Container) { c.Cgroup = "" },
	} {
		c := kept("/", "/tmp", "group", "true")
		change(c)
		var start *container.StartError
		require.True(t, errors.As(c.Check(), &start))
		require.Equal(t, field, start.Path)
	}
	testenv.RequireRoot(t)
	c := kept("/", t.TempDir(), testenv.CgroupName(t), "true")
	require.ErrorIs(t, c.Adopt(t.Context()), namespace.ErrNotKept)
}

// leaverApart starts a container as leaver does, but from a control group of its own, args[3]. The container's is below that.
func leaverApart(args []string) int {
	m, err := cgroups.Detect()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	g, err := m.Create(args[3], nil)
	if err == nil {
		err = g.Add(os.Getpid())
	}
	if err == nil {
		c := kept(args[1], args[2], "container", args[4:]...)
		c.Memory = 0 // cgroup v2 allows no limits below a group with processes
		err = c.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// Whoever adopts a container finds its control group, whatever group the program that started it was in.
func TestAdoptFromAnotherGroup(t *testing.T) {
	root, dir, group := leaveBy(t, "leaver-apart", "cat")
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	outer, err := m.Open(group)
	require.NoError(t, err)
	defer outer.Close()
	defer func() {
		require.Eventually(t, func() bool { return outer.Remove() == nil }, time.Minute, 5*time.Millisecond)
	}()
	c := kept(root, dir, "container", "cat")
	require.NoError(t, c.Adopt(t.Context()))
	groups := func(pid int) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		require.NoError(t, err)
		return string(b)
	}
	require.Contains(t, groups(c.Pid()), group+"/container")
	inside := c.Command("sleep", "1h")
	require.NoError(t, inside.Start(t.Context()))
	require.Equal(t, groups(c.Pid()), groups(inside.Pid()))
	require.NotEmpty(t, c.CgroupPaths())
	paths := c.CgroupPaths()
	require.NoError(t, c.Kill())
	_, _ = inside.Wait(t.Context()), c.Wait(t.Context())
	for _, path := range paths {
		require.NoDirExists(t, path)
	}
}

// A container that one program paused is paused for another one.
func TestAdoptPaused(t *testing.T) {
	root, dir, group := leave(t, "cat")
	first, second := kept(root, dir, group, "cat"), kept(root, dir, group, "cat")
	require.NoError(t, first.Adopt(t.Context()))
	require.NoError(t, first.Pause(t.Context()))
	require.NoError(t, second.Adopt(t.Context()))
	require.True(t, second.Paused())
	require.ErrorContains(t, second.Command("echo").Start(t.Context()), "paused")
	require.NoError(t, second.Resume())
	out, err := second.Command("echo", "inside").Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "inside\n", string(out))
	require.NoError(t, second.Kill())
	_, _ = first.Wait(t.Context()), second.Wait(t.Context())
}

// An Adopt that failed can be tried again.
func TestAdoptAgain(t *testing.T) {
	root, dir, group := leave(t, "cat")
	c := kept(root, dir, group, "cat")
	c.Keep.Dir = t.TempDir()
	require.ErrorIs(t, c.Adopt(t.Context()), namespace.ErrNotKept)
	c.Keep.Dir = dir
	require.NoError(t, c.Adopt(t.Context()))
	require.NoError(t, c.Kill()) // SIGTERM might come before it has a handler
	require.Error(t, c.Wait(t.Context()))
}

// A command does not start outside of the container's control group when that cannot be found.
func TestCommandWithoutGroup(t *testing.T) {
	root, dir, group := leave(t, "cat")
	note, err := os.ReadFile(dir + "/groups")
	require.NoError(t, err)
	var dirs []string
	require.NoError(t, json.Unmarshal(note, &dirs))
	for i := range dirs {
		dirs[i] += "-gone"
	}
	wrong, err := json.Marshal(dirs)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/groups", wrong, 0o600))
	c := kept(root, dir, group, "cat")
	require.NoError(t, c.Adopt(t.Context()))
	require.ErrorIs(t, c.Command("echo").Start(t.Context()), os.ErrNotExist)
	require.NoError(t, os.WriteFile(dir+"/groups", note, 0o600))
	again := kept(root, dir, group, "cat")
	require.NoError(t, again.Adopt(t.Context()))
	require.NoError(t, again.Command("echo").Run(t.Context()))
	require.NoError(t, again.Kill())
	_, _ = c.Wait(t.Context()), again.Wait(t.Context())
}
