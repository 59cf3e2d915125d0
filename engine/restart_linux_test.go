package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/control"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func TestRestartPolicy(t *testing.T) {
	for s, want := range map[string]RestartPolicy{
		"no": {Name: "no"}, "": {}, "always": {Name: "always"}, "unless-stopped": {Name: "unless-stopped"},
		"on-failure": {Name: "on-failure"}, "on-failure:3": {Name: "on-failure", MaximumRetryCount: 3},
	} {
		p, err := ParseRestartPolicy(s)
		require.NoError(t, err, s)
		require.Equal(t, want, p)
	}
	for s, want := range map[string]string{
		"never":         "unknown policy 'never'",
		"always:3":      "maximum retry count can only be used with 'on-failure'",
		"on-failure:-1": "maximum retry count cannot be negative",
		"on-failure:x":  "maximum retry count must be an integer",
		"on-failure:":   "maximum retry count must be an integer",
	} {
		_, err := ParseRestartPolicy(s)
		require.ErrorContains(t, err, want, s)
		require.ErrorIs(t, err, os.ErrInvalid)
	}
	failing := RestartPolicy{Name: RestartOnFailure, MaximumRetryCount: 2}
	require.True(t, failing.wants(1, 1))
	require.False(t, failing.wants(1, 2))
	require.False(t, failing.wants(0, 0))
	require.True(t, RestartPolicy{Name: RestartOnFailure}.wants(137, 1000))
	require.True(t, RestartPolicy{Name: RestartUnlessStopped}.wants(0, 1000))
	require.False(t, RestartPolicy{Name: RestartNo}.wants(1, 0))

	var last time.Duration
	var all []time.Duration
	for range 12 {
		last = restartDelay(last, 9*time.Second)
		all = append(all, last)
	}
	require.Equal(t, 100*time.Millisecond, all[0])
	require.Equal(t, 51200*time.Millisecond, all[9])
	require.Equal(t, time.Minute, all[10])
	require.Equal(t, time.Minute, all[11])
	require.Equal(t, 100*time.Millisecond, restartDelay(last, 10*time.Second))
}

// until looks at a container until it is as is wanted.
func until(t *testing.T, e *Engine, id string, is func(*Container) bool) (c *Container) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var err error
		c, err = e.Inspect(t.Context(), id)
		require.NoError(t, err)
		if is(c) {
			return c
		}
		require.True(t, time.Now().Before(end), "%+v, started again %d times", c.State, c.RestartCount)
	}
}

func policy(name string) RestartPolicy { return RestartPolicy{Name: name} }

// everything is what a container has printed since its last start.
func everything(t *testing.T, e *Engine, id string) string {
	t.Helper()
	r, err := e.LogSinceStart(t.Context(), id)
	require.NoError(t, err)
	return rest(t, r)
}

// rest is what a log has, which it closes.
func rest(t *testing.T, r *namespace.LogReader) string {
	t.Helper()
	defer r.Close()
	var b strings.Builder
	for {
		f, err := r.Next()
		if err == io.EOF {
			return b.String()
		}
		require.NoError(t, err)
		b.Write(f.Data)
	}
}

// up waits until a container has said so often that it is up.
func up(t *testing.T, e *Engine, id string, times int) *Container {
	t.Helper()
	return until(t, e, id, func(c *Container) bool {
		return c.State.Status == Running && strings.Count(everything(t, e, id), "up\n") == times
	})
}

// TestRestarts: a container is started again as its policy says, with its networks and its log, and not once it was stopped.
func TestRestarts(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	stop := supervise(t, e, 0)
	ctx := t.Context()

	fails := detached(t, e, &Config{Image: image, Network: "none", RestartPolicy: RestartPolicy{Name: RestartOnFailure, MaximumRetryCount: 2}},
		"echo run; exit 3")
	c := until(t, e, fails.ID, func(c *Container) bool { return c.State.Status == Exited && !c.State.Restarting })
	require.Equal(t, 2, c.RestartCount)
	require.Equal(t, 3, c.State.ExitCode)
	require.Equal(t, "run\nrun\nrun\n", everything(t, e, fails.ID))
	// The next start is a first one.
	again(t, e, fails)
	c = until(t, e, fails.ID, func(c *Container) bool { return c.State.Status == Exited && !c.State.Restarting })
	require.Equal(t, 2, c.RestartCount)
	require.Equal(t, "run\nrun\nrun\n", everything(t, e, fails.ID))

	succeeds := detached(t, e, &Config{Image: image, Network: "none", RestartPolicy: policy(RestartOnFailure)}, "exit 0")
	c = until(t, e, succeeds.ID, func(c *Container) bool { return c.State.Status == Exited })
	require.False(t, c.State.Restarting)

	// One of a network, which runs the second time; its first end is seen by a kill.
	always := detached(t, e, &Config{Image: image, RestartPolicy: policy(RestartAlways)}, "[ -e /again ] || { touch /again; exit 0; }; echo up; exec sleep 600")
	c = up(t, e, always.ID, 1)
	require.Equal(t, 1, c.RestartCount)
	require.True(t, c.State.Supervised)
	require.Len(t, c.Endpoints, 1)
	p, err := c.process()
	require.NoError(t, err)
	require.NoError(t, p.Kill()) // not by us
	require.NoError(t, p.Release())
	c = up(t, e, always.ID, 2)
	require.Equal(t, 2, c.RestartCount)
	require.Equal(t, 200*time.Millisecond, c.State.RestartDelay)
	// A signal that asks to end counts as a stop; one that does not, does not.
	require.NoError(t, e.Kill(ctx, c.ID, syscall.SIGUSR1)) // ignored: it has no handler, and is process 1
	require.False(t, e.halted(c.ID))
	require.NoError(t, e.Kill(ctx, c.ID, syscall.SIGKILL))
	c = until(t, e, always.ID, func(c *Container) bool { return c.State.Status == Exited })
	require.False(t, c.State.Restarting)
	require.Equal(t, 2, c.RestartCount)
	require.NoError(t, e.Restart(ctx, c.ID, 0))
	c = mustInspect(t, e, c)
	require.Zero(t, c.RestartCount)
	require.NoError(t, e.Stop(ctx, c.ID, 0))
	c = mustInspect(t, e, c)
	require.Equal(t, Exited, c.State.Status)
	require.False(t, c.State.Restarting)

	// One that cannot be started any more stays, and says why.
	dir := t.TempDir() + "/gone"
	require.NoError(t, os.Mkdir(dir, 0o755))
	bound := detached(t, e, &Config{Image: image, Network: "none", RestartPolicy: policy(RestartAlways),
		Mounts: []Mount{{Type: "bind", Source: dir, Target: "/bound"}}}, "echo up; exec sleep 600")
	up(t, e, bound.ID, 1)
	require.NoError(t, os.Remove(dir))
	c = mustInspect(t, e, bound)
	p, err = c.process()
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	require.NoError(t, p.Release())
	c = until(t, e, bound.ID, func(c *Container) bool { return c.State.Error != "" })
	require.Equal(t, Exited, c.State.Status)
	require.False(t, c.State.Restarting)
	require.Zero(t, c.RestartCount)
	stop()
}

// TestRestartWithoutSupervisor: what ended while no supervisor was there the next one starts again; until its moment has come, the
// container can be stopped and removed by force.
func TestRestartWithoutSupervisor(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	ctx := t.Context()
	stop := supervise(t, e, 0)
	c := detached(t, e, &Config{Image: image, Network: "none", RestartPolicy: policy(RestartUnlessStopped)}, "echo up; exec sleep 600")
	up(t, e, c.ID, 1)
	stop()
	end := func() {
		t.Helper()
		c = mustInspect(t, e, c)
		p, err := c.process()
		require.NoError(t, err, "%+v", c.State)
		require.NoError(t, p.Kill())
		require.NoError(t, p.Release())
		c = until(t, e, c.ID, func(c *Container) bool { return c.State.Status == Exited })
		require.True(t, c.State.Restarting)
		require.Contains(t, c.State.String(), "Restarting (137) ")
	}
	end()
	err := e.Remove(ctx, c.ID, nil)
	require.ErrorIs(t, err, os.ErrExist)
	require.ErrorContains(t, err, "container is restarting: stop the container before removing or force remove")

	// Whoever opens the folder starts a supervisor.
	var started []func()
	o := e.options
	o.StartSupervisor = func(context.Context) error {
		started = append(started, supervise(t, e, 0))
		return nil
	}
	other, err := Open(ctx, e.dir, &o)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.Len(t, started, 1)
	c = up(t, e, c.ID, 2)
	require.Equal(t, 1, c.RestartCount)
	started[0]()

	// While it waits.
	later := func() func() {
		t.Helper()
		end()
		c.State.RestartDelay = time.Hour
		require.NoError(t, e.write(c))
		return supervise(t, e, 50*time.Millisecond)
	}
	there := func() bool { return e.supervisorThere(context.Background()) }
	stop = later()
	require.NoError(t, e.Stop(ctx, c.ID, 0))
	require.False(t, mustInspect(t, e, c).State.Restarting)
	require.Eventually(t, func() bool { return !there() }, time.Minute, 5*time.Millisecond, "nothing is to do")
	stop()

	stop = supervise(t, e, 0)
	again(t, e, c)
	stop()
	stop = later()
	require.NoError(t, e.Update(ctx, c.ID, &Update{RestartPolicy: policy(RestartNo)}))
	require.False(t, mustInspect(t, e, c).State.Restarting)
	require.Eventually(t, func() bool { return !there() }, time.Minute, 5*time.Millisecond, "nothing is to do")
	stop()

	// A policy that comes while it runs holds, where somebody is there for it.
	again(t, e, c)
	err = e.Update(ctx, c.ID, &Update{RestartPolicy: policy(RestartAlways)})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	stop = supervise(t, e, 0)
	require.NoError(t, e.Update(ctx, c.ID, &Update{RestartPolicy: policy(RestartAlways)}))
	c = up(t, e, c.ID, 1)
	p, err := c.process()
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	require.NoError(t, p.Release())
	c = up(t, e, c.ID, 2)
	require.Equal(t, 1, c.RestartCount)
	require.NoError(t, e.Stop(ctx, c.ID, 0))
	stop()

	stop = supervise(t, e, 0)
	again(t, e, c)
	stop()
	stop = later()
	require.NoError(t, e.Remove(ctx, c.ID, &RemoveOptions{Force: true}))
	require.Eventually(t, func() bool { return !there() }, time.Minute, 5*time.Millisecond, "nothing is to do")
	stop()
}

// TestRestartHaltKilled: one who stops a container and is killed at it leaves nothing that a supervisor is busy with for ever.
func TestRestartHaltKilled(t *testing.T) {
	e := newEngine(t)
	stop := supervise(t, e, 0)
	c := detached(t, e, &Config{Network: "none", RestartPolicy: policy(RestartAlways)}, "exec sleep 600")
	stop()
	p, err := c.process()
	require.Error(t, err, "it was made before it was started")
	require.Nil(t, p)
	require.NoError(t, e.signal(mustInspect(t, e, c), syscall.SIGKILL))
	until(t, e, c.ID, func(c *Container) bool { return c.State.Restarting })
	require.NoError(t, os.WriteFile(e.haltPath(c.ID), nil, 0o600))
	supervise(t, e, 50*time.Millisecond)
	require.Eventually(t, func() bool { return !e.supervisorThere(context.Background()) }, time.Minute, 5*time.Millisecond)
	require.False(t, mustInspect(t, e, c).State.Restarting)
	require.Equal(t, Exited, mustInspect(t, e, c).State.Status)
}

// A container that is told to end while its end is being written down is not one that is to be started again when Stop returns.
func TestRestartHaltAtEnd(t *testing.T) {
	e := newEngine(t)
	stop := supervise(t, e, 0)
	c := mustInspect(t, e, detached(t, e, &Config{Network: "none", RestartPolicy: policy(RestartAlways)}, "exec sleep 600"))
	stop()
	e.log = slog.New(haltAtEnd{slog.DiscardHandler, e, c})
	require.NoError(t, e.signal(c, syscall.SIGKILL))
	c = until(t, e, c.ID, func(c *Container) bool { return c.State.Status == Exited })
	require.True(t, e.halted(c.ID))
	require.False(t, c.State.Restarting)
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
}

// haltAtEnd halts a container at the moment at which it is known whether it is to be started again, and not yet written.
type haltAtEnd struct {
	slog.Handler
	e *Engine
	c *Container
}

func (h haltAtEnd) Enabled(context.Context, slog.Level) bool { return true }

func (h haltAtEnd) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "container has ended" {
		return nil
	}
	return os.WriteFile(h.e.haltPath(h.c.ID), nil, 0o600)
}

// A container is started again though somebody else saw its end first, and though it was started while its last end was being seen to.
func TestRestartSeen(t *testing.T) {
	e := newEngine(t)
	o := e.options
	other, err := Open(t.Context(), e.dir, &o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- other.Supervise(ctx, &SuperviseOptions{Ready: func() { close(ready) }}) }()
	defer func() {
		cancel()
		require.NoError(t, errors.Join(<-done, other.Close()))
	}()
	<-ready
	s := other.supervisor.Load()
	kill := func(c *Container) {
		t.Helper()
		p, err := c.process()
		require.NoError(t, err)
		require.NoError(t, p.Kill())
		require.NoError(t, p.Release())
	}
	for network, meanwhile := range map[string]func(c *Container){
		"bridge": func(c *Container) { require.NoError(t, e.letGo(t.Context(), c.ID)) },
		"none": func(c *Container) {
			s.turn.Lock()
			defer s.turn.Unlock()
			require.NoError(t, e.Restart(t.Context(), c.ID, 0))
		},
	} {
		c := detached(t, e, &Config{Network: network, RestartPolicy: policy(RestartAlways)}, "exec sleep 600")
		meanwhile(c)
		kill(mustInspect(t, e, c))
		until(t, e, c.ID, func(c *Container) bool { return c.State.Status == Running && c.RestartCount == 1 })
		require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
	}
}

// TestRestartHangs: a container that is told to end while its being started again does not end is not started. One whose start cannot
// be given up is an error, in time.
func TestRestartHangs(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	stop := supervise(t, e, 0)
	c := detached(t, e, &Config{Image: image, Network: "none", RestartPolicy: policy(RestartAlways),
		Mounts: []Mount{{Type: "volume", Source: "vol", Target: "/data"}}}, "exec sleep 600")
	hold := func(path string) *durable.Lock {
		t.Helper()
		l, err := durable.Acquire(t.Context(), path, true)
		require.NoError(t, err)
		return l
	}
	volume := hold(filepath.Join(e.dir, "volumes", "vol", "populate"))
	kill := func() {
		t.Helper()
		require.NoError(t, e.signal(mustInspect(t, e, c), syscall.SIGKILL))
		until(t, e, c.ID, func(c *Container) bool { return c.State.Restarting })
	}
	kill()
	require.Eventually(t, func() bool {
		l, held, err := durable.TryAcquire(e.path(c.ID, "lock"), true)
		require.NoError(t, err)
		if !held {
			require.NoError(t, l.Close())
		}
		return held
	}, time.Minute, 10*time.Millisecond, "its start is under way")
	require.NoError(t, e.Stop(t.Context(), c.ID, 0))
	c = mustInspect(t, e, c)
	require.Equal(t, Exited, c.State.Status)
	require.False(t, c.State.Restarting)
	require.Zero(t, c.RestartCount)
	require.Empty(t, c.State.Error)
	require.NoError(t, volume.Close())

	again(t, e, c)
	stop()
	kill()
	own := hold(e.path(c.ID, "lock"))
	e.patience = time.Millisecond
	err := e.Stop(t.Context(), c.ID, 0)
	require.ErrorIs(t, err, os.ErrExist)
	require.ErrorContains(t, err, "it is being started again, and that does not end")
	require.NoError(t, own.Close())
	require.NoError(t, e.Stop(t.Context(), c.ID, 0))
	require.False(t, mustInspect(t, e, c).State.Restarting)
}

// TestSupervisorSeesToEnd: a supervisor is busy until it has seen to an end, though somebody else saw that first and released the container.
func TestSupervisorSeesToEnd(t *testing.T) {
	e := newEngine(t)
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Supervise(ctx, &SuperviseOptions{Ready: func() { close(ready) }}) }()
	<-ready
	c := detached(t, e, &Config{Network: "none", RestartPolicy: policy(RestartAlways)}, "exec sleep 600")
	s := e.supervisor.Load()
	s.turn.Lock()
	require.NoError(t, s.release(c.ID, s.find(c.ID)))
	s.mu.Lock()
	busy := s.busy()
	s.mu.Unlock()
	s.turn.Unlock()
	require.True(t, busy)
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.busy()
	}, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func TestRestartRefused(t *testing.T) {
	e := newEngine(t)
	testenv.ReapOrphans(t)
	image := pullBusybox(t, e)
	ctx := t.Context()
	_, err := e.Create(ctx, &Config{Image: image, AutoRemove: true, RestartPolicy: policy(RestartAlways)})
	require.ErrorContains(t, err, "can't create 'AutoRemove' container with restart policy")
	_, err = e.Create(ctx, &Config{Image: image, RestartPolicy: policy("sometimes")})
	require.ErrorContains(t, err, "unknown policy 'sometimes'")
	c, err := e.Create(ctx, &Config{Image: image, Network: "none", RestartPolicy: policy(RestartAlways), Command: []string{"sleep", "600"}})
	require.NoError(t, err)
	_, err = e.Start(ctx, c.ID, &StartOptions{Detach: true})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "restart policy always: a container in background needs a supervisor")
	stop := supervise(t, e, 0)
	_, err = e.Start(ctx, c.ID, nil)
	require.ErrorIs(t, err, os.ErrInvalid)
	require.ErrorContains(t, err, "with Detach")
	require.ErrorContains(t, e.Update(ctx, c.ID, &Update{RestartPolicy: policy("sometimes")}), "unknown policy 'sometimes'")

	// One that could not be started again is not stopped for that.
	again(t, e, mustInspect(t, e, c))
	was := mustInspect(t, e, c).State.Pid
	stop()
	require.ErrorIs(t, e.Restart(ctx, c.ID, 0), errors.ErrUnsupported)
	e.options.StartSupervisor = func(context.Context) error { return errors.New("none today") }
	require.ErrorContains(t, e.Restart(ctx, c.ID, 0), "none today")
	require.Equal(t, was, mustInspect(t, e, c).State.Pid)
	require.Equal(t, Running, mustInspect(t, e, c).State.Status)

	// Supervisors that end before they answer are not started for ever.
	e.options.StartSupervisor = func(context.Context) error { return nil }
	e.patience = 20 * time.Millisecond
	_, err = e.ask(ctx, &call{Do: "serve", ID: c.ID})
	require.ErrorIs(t, err, control.ErrNobody)
	require.ErrorContains(t, err, "each that was started has ended before it answered")
	e.options.StartSupervisor = nil
	require.NoError(t, e.Remove(ctx, c.ID, &RemoveOptions{Force: true}))
}

// TestSupervisorLeavesUnit: where the program is in a unit of systemd, its supervisor is not.
func TestSupervisorLeavesUnit(t *testing.T) {
	e := newEngine(t)
	cmd := sleeper(t)
	groups := func() string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Pid))
		require.NoError(t, err)
		return string(b)
	}
	was := groups()
	e.keptOnce.Do(func() {})
	require.NoError(t, e.leaveUnit(cmd.Pid))
	require.Equal(t, was, groups(), "it is in none")
	e.kept = "/caisson-kept-" + strings.ToLower(t.Name())
	require.NoError(t, e.leaveUnit(cmd.Pid))
	for line := range strings.Lines(groups()) {
		if !strings.HasSuffix(line, ":/\n") {
			require.Contains(t, line, ":"+e.kept+"/supervisor\n")
		}
	}
	require.Contains(t, groups(), e.kept)
	require.NoError(t, cmd.Kill())
	_, err := cmd.Wait()
	require.NoError(t, err)
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	for _, name := range []string{e.kept + "/supervisor", e.kept} {
		g, err := m.Open(name)
		require.NoError(t, err)
		require.NoError(t, g.Remove())
		require.NoError(t, g.Close())
	}
}

func sleeper(t *testing.T) *os.Process {
	t.Helper()
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", "600"}, &os.ProcAttr{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Kill() })
	return p
}
