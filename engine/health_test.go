package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/image"
)

// TestHealthTransitions walks through what probes make of a status.
func TestHealthTransitions(t *testing.T) {
	// A step is a probe's exit code, after so many seconds of the container, and what comes of it.
	type step struct {
		ran, code int
		status    HealthStatus
		streak    int
	}
	for name, x := range map[string]struct {
		check image.Healthcheck
		steps []step
	}{
		"well at once":      {image.Healthcheck{}, []step{{30, 0, Healthy, 0}, {60, 0, Healthy, 0}}},
		"three failures":    {image.Healthcheck{}, []step{{30, 1, Starting, 1}, {60, 1, Starting, 2}, {90, 1, Unhealthy, 3}, {120, 1, Unhealthy, 4}}},
		"retries":           {image.Healthcheck{Retries: 1}, []step{{30, 1, Unhealthy, 1}}},
		"a success between": {image.Healthcheck{Retries: 2}, []step{{1, 1, Starting, 1}, {2, 0, Healthy, 0}, {3, 1, Healthy, 1}, {4, 0, Healthy, 0}, {5, 1, Healthy, 1}, {6, 7, Unhealthy, 2}}},
		"better again":      {image.Healthcheck{Retries: 1}, []step{{1, 1, Unhealthy, 1}, {2, -1, Unhealthy, 2}, {3, 0, Healthy, 0}}},
		"killed":            {image.Healthcheck{Retries: 1}, []step{{1, -1, Unhealthy, 1}}},
		"start period": {image.Healthcheck{StartPeriod: 10 * time.Second, Retries: 2}, []step{
			{1, 1, Starting, 0}, {9, 1, Starting, 0}, {10, 1, Starting, 1}, {11, 1, Unhealthy, 2},
		}},
		"a success ends the start period": {image.Healthcheck{StartPeriod: 10 * time.Second, Retries: 2}, []step{
			{1, 1, Starting, 0}, {2, 0, Healthy, 0}, {3, 1, Healthy, 1}, {4, 1, Unhealthy, 2}, {5, 1, Unhealthy, 3},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			check := x.check.Over(&defaultHealthcheck)
			h := &Health{Status: Starting}
			for i, s := range x.steps {
				before := *h
				next := h.after(HealthResult{ExitCode: s.code}, time.Duration(s.ran)*time.Second, check)
				require.Equal(t, before, *h, "the one before is as it was")
				h = next
				require.Equal(t, []any{s.status, s.streak}, []any{h.Status, h.FailingStreak}, "step %d", i)
				require.Equal(t, s.code, h.Log[len(h.Log)-1].ExitCode)
			}
		})
	}

	h := &Health{Status: Starting}
	for code := range 9 {
		h = h.after(HealthResult{ExitCode: code}, 0, &defaultHealthcheck)
	}
	require.Len(t, h.Log, 5)
	require.Equal(t, 4, h.Log[0].ExitCode)
	require.Equal(t, 8, h.Log[4].ExitCode)
}

func TestHealthInterval(t *testing.T) {
	check := (&image.Healthcheck{Interval: time.Minute, StartInterval: time.Second, StartPeriod: 10 * time.Second}).Over(&defaultHealthcheck)
	for _, x := range []struct {
		status HealthStatus
		ran    time.Duration
		want   time.Duration
	}{
		{Starting, 0, time.Second}, {Starting, 10*time.Second - 1, time.Second}, {Starting, 10 * time.Second, time.Minute},
		{Healthy, 0, time.Minute}, {Unhealthy, 0, time.Minute},
	} {
		require.Equal(t, x.want, (&Health{Status: x.status}).interval(x.ran, check), "%+v", x)
	}
	require.Equal(t, 30*time.Second, (&Health{Status: Starting}).interval(0, (&image.Healthcheck{}).Over(&defaultHealthcheck)))
	require.Equal(t, 5*time.Second, (&Health{Status: Starting}).interval(0, (&image.Healthcheck{StartPeriod: 1}).Over(&defaultHealthcheck)))
}

func TestProbeOutput(t *testing.T) {
	o := &probeOutput{}
	write := func(s string) {
		n, err := o.Write([]byte(s))
		require.NoError(t, err)
		require.Equal(t, len(s), n)
	}
	require.Empty(t, o.String())
	write("a\xffb")
	require.Equal(t, "a\uFFFDb", o.String())
	write(strings.Repeat("x", maxHealthOutput-3))
	require.Len(t, o.b, maxHealthOutput)
	require.True(t, strings.HasSuffix(o.String(), "xxx"))
	for range 1000 {
		write(strings.Repeat("y", 1<<16))
	}
	require.Len(t, o.b, maxHealthOutput)
	require.True(t, strings.HasSuffix(o.String(), "xxx..."))
}

func TestStatusWords(t *testing.T) {
	up := State{Status: Running, Started: time.Now().Add(-5 * time.Second)}
	for status, want := range map[HealthStatus]string{
		Starting: "Up 5 seconds (health: starting)", Healthy: "Up 5 seconds (healthy)", Unhealthy: "Up 5 seconds (unhealthy)",
	} {
		s := up
		s.Health = &Health{Status: status}
		require.Equal(t, want, s.String())
		s.Paused = true
		require.Equal(t, "Up 5 seconds (Paused)", s.String())
		s = State{Status: Exited, Finished: time.Now().Add(-5 * time.Second), Health: &Health{Status: status}}
		require.Equal(t, "Exited (0) 5 seconds ago", s.String())
	}
	require.Equal(t, "Up 5 seconds", up.String())
}
