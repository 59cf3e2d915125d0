package container_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func TestCommand(t *testing.T) {
	c := newContainer(t, "trap")
	c.Hostname, c.Dir, c.Env = "box", "/tmp", []string{"A=1"}
	ready(t, c)
	require.Regexp(t, `^0 0 \[0 3000\] /tmp box [2-9]\d*\n$`, output2(t, c.Command("id")))
	p := c.Command("id")
	p.User, p.Dir = "app", "/home/app"
	require.Regexp(t, `^1000 1000 \[1000 2000 3000\] /home/app box \d+\n$`, output2(t, p))
	p = c.Command("env")
	p.Env = append(p.Env, "B=2")
	require.True(t, strings.HasPrefix(output2(t, p), "A=1\nB=2\nPATH="))
	p = c.Command("cat")
	p.Stdin = strings.NewReader("through")
	require.Equal(t, "through", output2(t, p))
	require.Equal(t, "CapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n",
		output2(t, c.Command("status", "CapBnd", "NoNewPrivs", "Seccomp")))

	var exit *container.ExitError
	require.ErrorAs(t, c.Command("exit", "5").Run(t.Context()), &exit)
	require.Equal(t, 5, exit.Code)
	var start *container.StartError
	require.ErrorAs(t, c.Command("nothing").Run(t.Context()), &start)
	require.ErrorIs(t, start, syscall.ENOENT)
	require.ErrorAs(t, c.Command().Run(t.Context()), &start)
	require.Equal(t, "Args", start.Path)
}

func TestCommandIsInTheControlGroup(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	groups := output2(t, c.Command("read", "/proc/self/cgroup"))
	for line := range strings.Lines(groups) {
		require.Regexp(t, `^\d+:[^:]*:/\n$`, line, "seen from inside, the group is the root")
	}
}

func TestCommandEndsWithTheContainer(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	p := c.Command("sleep", "1h")
	require.NoError(t, p.Start(t.Context()))
	require.NoError(t, c.Stop(t.Context()))
	var exit *container.ExitError
	require.ErrorAs(t, p.Wait(t.Context()), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	require.False(t, exit.OOMKilled)
	require.NoError(t, c.Wait(t.Context()))
	var start *container.StartError
	require.ErrorAs(t, c.Command("id").Run(t.Context()), &start)
	require.Error(t, container.New(nil).Command("id").Run(t.Context()))
	require.Error(t, (&container.Process{Args: []string{"id"}}).Run(t.Context()))
}

// TestCommandKillGroup: what the command has started goes with it, in a user namespace, too.
func TestCommandKillGroup(t *testing.T) {
	for name, maps := range map[string][]container.IDMapping{"host": nil, "mapped": idMaps} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "trap")
			c.UIDMappings, c.GIDMappings = maps, maps
			ready(t, c)
			require.ErrorContains(t, c.KillGroup(), "it is the container's own")
			p := c.Command("linger", "1h", "stay")
			require.ErrorContains(t, p.KillGroup(), "not started")
			out, err := p.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context()))
			_, err = io.ReadFull(out, make([]byte, len("left\n")))
			require.NoError(t, err)
			require.NoError(t, p.KillGroup())
			_, err = io.ReadAll(out) // which the child holds open while it lives
			require.NoError(t, err)
			var exit *container.ExitError
			require.ErrorAs(t, p.Wait(t.Context()), &exit)
			require.Equal(t, syscall.SIGKILL, exit.Signal)
			require.ErrorIs(t, p.KillGroup(), os.ErrProcessDone)
		})
	}
}

func TestCommandStop(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	p := c.Command("trap")
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context()))
	_, err = io.ReadFull(out, make([]byte, len("ready\n")))
	require.NoError(t, err)
	require.NoError(t, p.Stop(t.Context()))
	require.NoError(t, p.Wait(t.Context()))
}

func TestCommandOOMKilled(t *testing.T) {
	c := newContainer(t, "trap")
	c.Memory, c.MemorySwap = 64<<20, 64<<20
	ready(t, c)
	var exit *container.ExitError
	require.ErrorAs(t, c.Command("hog", "200").Run(t.Context()), &exit)
	require.True(t, exit.OOMKilled)
	p := c.Command("sleep", "1h")
	require.NoError(t, p.Start(t.Context()))
	require.NoError(t, p.Kill())
	require.ErrorAs(t, p.Wait(t.Context()), &exit)
	require.False(t, exit.OOMKilled, "the OOM killer came before it")
}

func TestTTY(t *testing.T) {
	for _, inside := range []bool{false, true} {
		c := newContainer(t, "trap")
		p := &c.Process
		run := c.Run
		if inside {
			ready(t, c)
			p = c.Command("tty")
			run = p.Run
		}
		p.Args = []string{"tty"}
		p.TTY, p.TTYSize = true, namespace.WinSize{Rows: 24, Cols: 80}
		p.Stdin = strings.NewReader("one\n")
		var out bytes.Buffer
		p.Stdout = &out
		require.NoError(t, run(t.Context()))
		require.Equal(t, "tty /dev/pts/0 [24 80]\r\nline one [24 80]\r\n", strings.Replace(out.String(), "one\r\n", "", 1))
	}
}

func TestResize(t *testing.T) {
	c := newContainer(t, "tty")
	c.TTY = true
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Resize(namespace.WinSize{Rows: 33, Cols: 44}))
	_, err = io.WriteString(in, "x\n")
	require.NoError(t, err)
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, in.Close())
	got, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Contains(t, string(got), "line x [33 44]\r\n")
	require.NoError(t, c.Wait(t.Context()))
	require.Error(t, c.Resize(namespace.WinSize{}))
}
