package dockerapi

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDockerHealth: what the docker command says of a health check.
func TestDockerHealth(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	is := func(want, format string) {
		t.Helper()
		got := ""
		require.Eventually(t, func() bool { got = p.docker("inspect", "-f", format, "hx"); return got == want+"\n" }, time.Minute, 5*time.Millisecond, "%s", &got)
	}
	p.docker("run", "-d", "--name", "hx", "--network", "none", "--health-cmd", "echo $A; cat /well", "--health-interval", "5ms", "--health-timeout", "40s",
		"--health-retries", "2", "--health-start-period", "1ms", "--health-start-interval", "3ms", "-e", "A=b", "busybox", "sleep", "600")
	require.Equal(t, "[CMD-SHELL echo $A; cat /well] 5ms 40s 1ms 3ms 2\n", p.docker("inspect", "-f",
		"{{with .Config.Healthcheck}}{{.Test}} {{.Interval}} {{.Timeout}} {{.StartPeriod}} {{.StartInterval}} {{.Retries}}{{end}}", "hx"))
	is("unhealthy", "{{.State.Health.Status}}")
	is("5 1 b\ncat: can't open '/well': No such file or directory\n", "{{len .State.Health.Log}} {{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}")
	require.Regexp(t, `^hx Up [^(]*\(unhealthy\)\n$`, p.docker("ps", "--filter", "health=unhealthy", "--format", "{{.Names}} {{.Status}}"))
	p.docker("exec", "hx", "touch", "/well")
	is("healthy 0", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}")
	require.Equal(t, "hx\n", p.docker("ps", "--filter", "health=healthy", "--format", "{{.Names}}"))
	require.Empty(t, p.docker("ps", "-q", "--filter", "health=starting", "--filter", "health=none"))
	require.Contains(t, p.fails(1, "ps", "--filter", "health=x"), "invalid filter 'health=x'")
	require.Eventually(t, func() bool { // the command's times are whole seconds
		return p.docker("events", "--since", "1h", "--until", "0s", "--filter", "event=health_status", "--format", "{{.Action}}") ==
			"health_status: unhealthy\nhealth_status: healthy\n"
	}, time.Minute, 20*time.Millisecond)

	// An image of it has the check; a container of that may have none.
	p.docker("commit", "hx", "checked")
	require.Equal(t, "[CMD-SHELL echo $A; cat /well]\n", p.docker("inspect", "-f", "{{.Config.Healthcheck.Test}}", "checked"))
	p.docker("rm", "-f", "hx")
	p.docker("run", "-d", "--name", "hx", "--network", "none", "--health-retries", "9", "checked", "sleep", "600")
	is("[CMD-SHELL echo $A; cat /well] 9 healthy", "{{.Config.Healthcheck.Test}} {{.Config.Healthcheck.Retries}} {{.State.Health.Status}}")
	p.docker("rm", "-f", "hx")
	p.docker("run", "-d", "--name", "hx", "--network", "none", "--no-healthcheck", "checked", "sleep", "600")
	is("[NONE] <nil>", "{{.Config.Healthcheck.Test}} {{.State.Health}}")
	require.Equal(t, "hx\n", p.docker("ps", "--filter", "health=none", "--format", "{{.Names}}"))
	require.Regexp(t, `^Up [^(]*\n$`, p.docker("ps", "--format", "{{.Status}}"))
	require.Contains(t, p.fails(1, "create", "--health-cmd", "x", "--health-interval", "1us", "busybox"), "Interval in Healthcheck cannot be less than 1ms")
}
