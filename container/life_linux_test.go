package container_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestExitStatus(t *testing.T) {
	c := newContainer(t, "exit", "7")
	err := c.Run(t.Context())
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, exit.Code)
	require.Zero(t, exit.Signal)
	require.Same(t, c.State, exit.State)
	require.NotErrorIs(t, err, &container.StartError{})
	require.True(t, c.State.Started.Before(c.State.Ended))
}

func TestStartTwice(t *testing.T) {
	c := newContainer(t, "echo")
	require.EqualError(t, c.Wait(t.Context()), "container: not started")
	require.Error(t, c.Signal(syscall.SIGTERM))
	require.NoError(t, c.Run(t.Context()))
	require.EqualError(t, c.Start(t.Context()), "container: already started")
	require.NoError(t, c.Wait(t.Context()), "unlike os/exec, the answer is given again")
	require.ErrorIs(t, c.Signal(syscall.SIGTERM), os.ErrProcessDone)
	require.ErrorIs(t, c.Pause(t.Context()), os.ErrProcessDone)
	require.ErrorIs(t, c.Kill(), os.ErrProcessDone)
	require.NoError(t, c.Stop(t.Context()))
}

func TestStartErrors(t *testing.T) {
	for name, x := range map[string]struct {
		args   []string
		change func(*container.Container)
		want   error
		path   string
	}{
		"no command":     {[]string{"nothing"}, nil, syscall.ENOENT, "nothing"},
		"no path":        {[]string{"/bin/nothing"}, nil, syscall.ENOENT, "/bin/nothing"},
		"not executable": {[]string{"/etc/passwd"}, nil, syscall.EACCES, "/etc/passwd"},
		"a folder":       {[]string{"/etc"}, nil, syscall.EACCES, "/etc"},
		"no folder":      {[]string{"echo"}, func(c *container.Container) { c.Dir = "/nowhere" }, syscall.ENOENT, "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, x.args...)
			if x.change != nil {
				x.change(c)
			}
			err := c.Run(t.Context())
			var start *container.StartError
			require.ErrorAs(t, err, &start)
			require.ErrorIs(t, err, x.want)
			require.Equal(t, x.path, start.Path, "%v", err)
			require.Empty(t, groupFolders([]string{c.Cgroup}))
		})
	}
}

// ready starts the container and returns when it has said "ready".
func ready(t *testing.T, c *container.Container) *bufio.Reader {
	t.Helper()
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	t.Cleanup(func() {
		_ = c.Kill()
		_ = c.Wait(context.Background())
	})
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return r
}

func TestSignal(t *testing.T) {
	c := newContainer(t, "trap")
	out := ready(t, c)
	require.Positive(t, c.Pid())
	require.NoError(t, c.Signal(syscall.SIGUSR1))
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "got user defined signal 1\n", line)
	require.NoError(t, c.Wait(t.Context()))
}

func TestStopAsks(t *testing.T) {
	c := newContainer(t, "trap")
	c.StopSignal = syscall.SIGQUIT
	out := ready(t, c)
	require.NoError(t, c.Stop(t.Context()))
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "got quit\n", line)
	require.NoError(t, c.Wait(t.Context()))
}

func TestStopKills(t *testing.T) {
	c := newContainer(t, "trap", "ignore")
	ready(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.NoError(t, c.Stop(ctx))
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	require.Equal(t, -1, exit.Code)
	require.EqualError(t, exit, "signal: killed")
	require.False(t, exit.OOMKilled)
}

// An onReady collects what is written, and calls do when that is "ready".
type onReady struct {
	got []byte
	do  func()
}

func (w *onReady) Write(b []byte) (int, error) {
	w.got = append(w.got, b...)
	if string(w.got) == "ready\n" {
		w.do()
	}
	return len(b), nil
}

func TestRunContext(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		c := newContainer(t, "trap", "ignore")
		c.WaitDelay = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		out := &onReady{do: cancel}
		c.Stdout = out
		err := c.Run(ctx)
		require.ErrorIs(t, err, context.Canceled)
		var exit *container.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, syscall.SIGKILL, exit.Signal)
		require.Equal(t, "ready\ngot terminated\n", string(out.got))
	})
	t.Run("ended well", func(t *testing.T) {
		c := newContainer(t, "trap")
		c.WaitDelay = 10 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		c.Stdout = &onReady{do: cancel}
		require.ErrorIs(t, c.Run(ctx), context.Canceled)
		require.Zero(t, c.State.Code)
	})
	t.Run("before the start", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no time")
		cancel(why)
		c := newContainer(t, "echo")
		var start *container.StartError
		err := c.Run(ctx)
		require.ErrorAs(t, err, &start)
		require.ErrorIs(t, err, why)
	})
}

func TestWaitContext(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Wait(ctx), context.DeadlineExceeded)
	require.Nil(t, c.State)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := c.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	require.NoError(t, c.Signal(syscall.SIGTERM))
	wg.Wait()
}

func TestPause(t *testing.T) {
	c := newContainer(t, "spin")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	r := bufio.NewReader(out)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, c.Pause(t.Context()))
	require.True(t, c.Paused())
	before := cpu(t, c)
	time.Sleep(100 * time.Millisecond)
	require.Equal(t, before, cpu(t, c), "a paused container uses no processor")
	require.NoError(t, c.Resume())
	require.False(t, c.Paused())
	require.Eventually(t, func() bool { return cpu(t, c) > before }, time.Minute, 10*time.Millisecond)

	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(ctx), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
}

func cpu(t *testing.T, c *container.Container) time.Duration {
	t.Helper()
	s, err := c.Stats()
	require.NoError(t, err)
	return s.CPU.Usage
}

func TestStopWakesThePaused(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	require.NoError(t, c.Pause(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, c.Stop(ctx))
	require.NoError(t, c.Wait(t.Context()))
}

func TestOOMKilled(t *testing.T) {
	c := newContainer(t, "hog", "200")
	c.Memory, c.MemorySwap = 64<<20, 64<<20
	err := c.Run(t.Context())
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.True(t, exit.OOMKilled)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	require.EqualError(t, err, "signal: killed (out of memory)")
	require.Positive(t, exit.State.Cgroup.Memory.OOMKills)
}

func TestMemorySuffices(t *testing.T) {
	c := newContainer(t, "hog", "50")
	c.Memory = 256 << 20
	require.NoError(t, c.Run(t.Context()))
	require.GreaterOrEqual(t, c.State.Cgroup.Memory.Peak, int64(50<<20))
	require.False(t, c.State.OOMKilled)
}

func TestUpdate(t *testing.T) {
	c := newContainer(t, "trap")
	c.Memory = 128 << 20
	ready(t, c)
	require.NoError(t, c.Update(&cgroups.Resources{Memory: 64 << 20, MemorySwap: 64 << 20}))
	s, err := c.Stats()
	require.NoError(t, err)
	require.Equal(t, int64(64<<20), s.Memory.Limit)
}

// With the host's PID namespace nothing else ends what the command leaves behind.
func TestHostPIDLeavesNobody(t *testing.T) {
	testenv.ReapOrphans(t)
	c := newContainer(t, "linger", "1h")
	c.Namespaces.PID.Host = true
	c.WaitDelay = 10 * time.Second
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(out), "left\n"))
	require.Empty(t, groupFolders([]string{c.Cgroup}))
}

func TestSetup(t *testing.T) {
	c := newContainer(t, "echo", "hello")
	var seen int
	c.Setup = func(_ context.Context, pid int) error {
		seen = pid
		exe, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			return err
		}
		other, err := os.Readlink("/proc/" + itoa(pid) + "/ns/net")
		if err != nil || exe == other {
			return errors.Join(err, errors.New("the network namespace is not there yet"))
		}
		return nil
	}
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, c.Pid(), seen)

	c = newContainer(t, "write", "/tmp/ran", "")
	why := errors.New("no interface")
	c.Setup = func(context.Context, int) error { return why }
	err := c.Run(t.Context())
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, why)
	require.NoFileExists(t, c.Root.String()+"/tmp/ran")
	require.Empty(t, groupFolders([]string{c.Cgroup}))
}

func TestNoCgroup(t *testing.T) {
	c := newContainer(t, "echo", "quick")
	c.Cgroup, c.NoCgroup = "", true
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "quick\n", string(out))
	require.Nil(t, c.State.Cgroup)
	require.ErrorContains(t, c.Pause(t.Context()), "process already finished")
}

func TestReapedByTheProgram(t *testing.T) {
	c := newContainer(t, "trap")
	ready(t, c)
	pid := c.Pid()
	// Another part of the program that waits for any child may win: here it does for certain.
	require.NoError(t, c.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	done := make(chan error)
	go func() {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		done <- err
	}()
	require.NoError(t, c.Kill())
	stolen := <-done
	err := c.Wait(t.Context())
	var exit *container.ExitError
	if errors.As(err, &exit) {
		require.Equal(t, syscall.SIGKILL, exit.Signal)
		return
	}
	require.NoError(t, stolen, "if it was not stolen there is a status")
	require.ErrorContains(t, err, "PIDFD_GET_INFO")
}
