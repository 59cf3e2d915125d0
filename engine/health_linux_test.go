package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// A patient is a folder of a container, at /ctl, with the script of its probe.
type patient string

func newPatient(t *testing.T) patient { return patient(t.TempDir()) }

func (p patient) mount() Mount { return Mount{Type: "bind", Source: string(p), Target: "/ctl"} }

// says sets the script of the probe, each run of which is counted.
func (p patient) says(t *testing.T, script string) {
	t.Helper()
	tmp := filepath.Join(string(p), "tmp")
	require.NoError(t, os.WriteFile(tmp, []byte("echo >>/ctl/count\n"+script+"\n"), 0o644))
	require.NoError(t, os.Rename(tmp, filepath.Join(string(p), "probe")))
}

func (p patient) count(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(string(p), "count"))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	return len(b)
}

// probed waits until more probes have begun.
func (p patient) probed(t *testing.T) {
	t.Helper()
	n := p.count(t) + 1
	require.Eventually(t, func() bool { return p.count(t) > n }, time.Minute, 2*time.Millisecond)
}

// rests waits until no probe begins: one may be under way.
func (p patient) rests(t *testing.T) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; {
		n := p.count(t)
		time.Sleep(50 * time.Millisecond)
		if n == p.count(t) {
			return
		}
		require.True(t, time.Now().Before(until), "probes go on")
	}
}

func (p patient) check() *image.Healthcheck {
	return &image.Healthcheck{Test: []string{"CMD-SHELL", ". /ctl/probe"}, Interval: 2 * time.Millisecond, Retries: 2}
}

func healthy(c *Container) bool   { return c.State.Health != nil && c.State.Health.Status == Healthy }
func unhealthy(c *Container) bool { return c.State.Health != nil && c.State.Health.Status == Unhealthy }

func last(c *Container) HealthResult {
	if c.State.Health == nil || len(c.State.Health.Log) == 0 {
		return HealthResult{}
	}
	return c.State.Health.Log[len(c.State.Health.Log)-1]
}

// TestHealth: a container in background is as well as its probe says, while it runs and is not paused, whoever supervises it.
func TestHealth(t *testing.T) {
	e := newEngine(t)
	pullBusybox(t, e)
	stop := supervise(t, e, 0)
	ctl := newPatient(t)
	ctl.says(t, `echo $(id -u) $PWD $A; echo wrong >&2; exit 3`)
	events, err := e.OpenEvents(time.Time{})
	require.NoError(t, err)
	defer events.Close()
	c := detached(t, e, &Config{
		Name: "ill", Network: "none", Mounts: []Mount{ctl.mount()}, Healthcheck: ctl.check(), User: "1000", Dir: "/tmp", Env: []string{"A=b"},
	}, "trap exit TERM; sleep 600 & wait")
	require.NoError(t, os.Chmod(string(ctl), 0o777))
	c = until(t, e, c.ID, unhealthy)
	require.GreaterOrEqual(t, c.State.Health.FailingStreak, 2)
	require.Regexp(t, `^Up .* \(unhealthy\)$`, c.State.String())
	c = until(t, e, c.ID, func(c *Container) bool { return len(c.State.Health.Log) == 5 })
	r := last(c)
	require.Equal(t, HealthResult{Start: r.Start, End: r.End, ExitCode: 3, Output: "1000 /tmp b\nwrong\n"}, r)
	require.True(t, r.End.After(r.Start))

	ctl.says(t, "exit 0")
	c = until(t, e, c.ID, healthy)
	require.Zero(t, c.State.Health.FailingStreak)
	require.Regexp(t, `\(healthy\)$`, c.State.String())

	// What is seen of it from outside.
	var statuses []string
	running := ""
	for len(statuses) < 2 {
		ev, err := events.Next(t.Context())
		require.NoError(t, err)
		word, rest, _ := strings.Cut(ev.Action, ": ")
		switch word {
		case "health_status":
			statuses = append(statuses, rest)
			require.Equal(t, "ill", ev.Attributes["name"])
		case "exec_create":
			require.Equal(t, "/bin/sh -c . /ctl/probe", rest)
			require.Empty(t, running)
			running = ev.Attributes["execID"]
			require.Len(t, running, 64)
		case "exec_start":
			require.Equal(t, running, ev.Attributes["execID"])
		case "exec_die":
			require.Equal(t, running, ev.Attributes["execID"])
			require.Contains(t, []string{"0", "3"}, ev.Attributes["exitCode"])
			running = ""
		}
	}
	require.Equal(t, []string{"unhealthy", "healthy"}, statuses)

	ctl.probed(t)
	require.NoError(t, e.Pause(t.Context(), c.ID))
	ctl.rests(t)
	require.NoError(t, e.Unpause(t.Context(), c.ID))
	ctl.probed(t)

	// What is wrong for a moment ends no health check.
	record := e.path(c.ID, "container.json")
	require.NoError(t, os.Link(record, record+".kept"))
	require.NoError(t, os.WriteFile(record+".broken", []byte("{"), 0o600))
	require.NoError(t, os.Rename(record+".broken", record))
	ctl.rests(t)
	require.NoError(t, os.Rename(record+".kept", record))
	ctl.probed(t)

	// The next supervisor goes on with what this one knew.
	stop()
	ctl.rests(t)
	require.Condition(t, func() bool { c, err := e.Inspect(t.Context(), c.ID); return err == nil && healthy(c) })
	supervise(t, e, 0)
	ctl.probed(t)
	require.Condition(t, func() bool { c, err := e.Inspect(t.Context(), c.ID); return err == nil && healthy(c) })

	// A new start, which knows nothing.
	ctl.says(t, "while [ ! -e /ctl/go ]; do sleep 0.01; done; exit 1")
	require.NoError(t, e.Restart(t.Context(), c.ID, StopTimeout))
	c, err = e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, Starting, c.State.Health.Status)
	require.Regexp(t, `\(health: starting\)$`, c.State.String())
	require.NoError(t, os.WriteFile(filepath.Join(string(ctl), "go"), nil, 0o644))
	until(t, e, c.ID, unhealthy)

	ctl.says(t, "exit 0")
	until(t, e, c.ID, healthy)
	require.NoError(t, e.Stop(t.Context(), c.ID, StopTimeout))
	ctl.rests(t)
	c, err = e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, Exited, c.State.Status)
	require.Equal(t, Unhealthy, c.State.Health.Status, "as Docker says")
	require.Len(t, c.State.Health.Log, 5)
	for _, r := range c.State.Health.Log {
		require.NotEqual(t, 137, r.ExitCode, "what the end has killed says nothing")
	}
}

// TestHealthHostileProbe: a probe that takes too long is killed with what it has started, what it writes is bounded, and it keeps nobody from
// seeing that its container has ended.
func TestHealthHostileProbe(t *testing.T) {
	e := newEngine(t)
	pullBusybox(t, e)
	supervise(t, e, 0)
	ctl := newPatient(t)
	ctl.says(t, "echo begun; sleep 4242 & sleep 4243")
	check := ctl.check()
	check.Timeout = 2 * time.Second
	c := detached(t, e, &Config{Network: "none", Mounts: []Mount{ctl.mount()}, Healthcheck: check}, "exec sleep 600")
	c = until(t, e, c.ID, func(c *Container) bool { return last(c).ExitCode == -1 && strings.HasSuffix(last(c).Output, "begun\n") })
	require.Equal(t, "Health check exceeded timeout (2s): begun\n", last(c).Output)

	ctl.says(t, "sleep 4244 & echo left; exit 4") // its output stays open
	c = until(t, e, c.ID, func(c *Container) bool { return last(c).ExitCode == 4 })
	require.Equal(t, "left\n", last(c).Output)

	ctl.says(t, "yes | head -c 100000; exit 5")
	c = until(t, e, c.ID, func(c *Container) bool { return last(c).ExitCode == 5 })
	require.Len(t, last(c).Output, maxHealthOutput)
	require.True(t, strings.HasSuffix(last(c).Output, "y\ny..."))
	top, err := e.Top(t.Context(), c.ID, nil)
	require.NoError(t, err)
	for _, p := range top {
		require.NotContains(t, strings.Join(p, " "), "sleep 4242")
	}

	// The end comes while a probe is under way.
	ctl.says(t, "touch /ctl/hangs; sleep 4245")
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(string(ctl), "hangs")); return err == nil }, time.Minute, time.Millisecond)
	require.NoError(t, e.Kill(t.Context(), c.ID, 9))
	code, err := e.WaitFor(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, 137, code)
	ctl.rests(t)
}

// TestHealthOfImage: the check of an image holds but for what the container says, in the foreground of a program, too.
func TestHealthOfImage(t *testing.T) {
	e := newEngine(t)
	testenv.ReapOrphans(t)
	ctl := newPatient(t)
	ctl.says(t, "exit 0")
	plain, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e)})
	require.NoError(t, err)
	require.Nil(t, plain.Healthcheck)
	img, err := e.Commit(t.Context(), plain.ID, &CommitOptions{Name: "checked", Changes: []string{
		"HEALTHCHECK --interval=2ms --retries=1 --timeout=9s CMD . /ctl/probe", `CMD ["sleep","600"]`,
	}})
	require.NoError(t, err)

	// Nobody is there in background.
	cfg := &Config{Image: "checked", Network: "none", Mounts: []Mount{ctl.mount()}, Healthcheck: &image.Healthcheck{Retries: 3}}
	own, err := e.Create(t.Context(), cfg)
	require.NoError(t, err)
	want := &image.Healthcheck{Test: []string{"CMD-SHELL", ". /ctl/probe"}, Interval: 2 * time.Millisecond, Timeout: 9 * time.Second, Retries: 3}
	require.Equal(t, want, own.Healthcheck)
	require.Nil(t, own.State.Health)
	_, err = e.Start(t.Context(), own.ID, &StartOptions{Detach: true})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "health check: a container in background needs a supervisor")

	// In the foreground.
	r, err := e.Start(t.Context(), own.ID, nil)
	require.NoError(t, err)
	until(t, e, own.ID, healthy)
	ctl.says(t, "exit 1")
	c := until(t, e, own.ID, unhealthy)
	require.GreaterOrEqual(t, c.State.Health.FailingStreak, 3)
	require.NoError(t, r.Signal(t.Context(), 9))
	require.Error(t, r.Wait(t.Context()))
	ctl.rests(t)

	// That of an image is executed once somebody is there.
	cfg.Healthcheck, cfg.Image = nil, img.ID.String()
	c, err = e.Create(t.Context(), cfg)
	require.NoError(t, err)
	again(t, e, c)
	c, err = e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, Starting, c.State.Health.Status)
	require.Empty(t, c.State.Health.Log)
	supervise(t, e, 0)
	until(t, e, c.ID, unhealthy)
	require.NoError(t, e.Kill(t.Context(), c.ID, 9))

	// It goes into an image that is made of the container.
	img, err = e.Commit(t.Context(), own.ID, &CommitOptions{Healthcheck: &image.Healthcheck{Timeout: time.Second}})
	require.NoError(t, err)
	got, _, err := img.Healthcheck()
	require.NoError(t, err)
	want.Timeout = time.Second
	require.Equal(t, want, got)

	// None.
	cfg.Healthcheck = &image.Healthcheck{Test: []string{"NONE"}}
	none, err := e.Create(t.Context(), cfg)
	require.NoError(t, err)
	again(t, e, none)
	none, err = e.Inspect(t.Context(), none.ID)
	require.NoError(t, err)
	require.Nil(t, none.State.Health)
	require.NoError(t, e.Kill(t.Context(), none.ID, 9))

	_, err = e.Create(t.Context(), &Config{Image: "checked", Healthcheck: &image.Healthcheck{Interval: 1}})
	require.ErrorIs(t, err, os.ErrInvalid)
	require.ErrorContains(t, err, "Interval in Healthcheck cannot be less than 1ms")
}
