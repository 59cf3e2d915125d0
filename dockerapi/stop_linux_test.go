package dockerapi

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDockerStopBySignal: who stops or restarts a container may choose the signal.
func TestDockerStopBySignal(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("run", "-d", "--name", "sig", "--network", "none", "busybox", "sh", "-c",
		"trap 'exit 7' USR1; trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
	p.awaitLog("sig", "ready\n")
	require.Contains(t, p.fails(1, "stop", "-s", "NOSUCH", "sig"), "invalid signal: NOSUCH")
	p.docker("stop", "-t", "60", "-s", "SIGUSR1", "sig")
	require.Equal(t, "7\n", p.docker("wait", "sig"))
	p.docker("start", "sig")
	p.awaitLog("sig", "ready\nready\n")
	p.docker("restart", "-t", "60", "-s", "10", "sig")
	events, err := p.e.OpenEvents(time.Unix(1, 0))
	require.NoError(t, err)
	defer events.Close()
	for range 2 {
		for action := ""; action != "kill"; {
			ev, err := events.Next(t.Context())
			require.NoError(t, err)
			if action = ev.Action; action == "kill" {
				require.Equal(t, "10", ev.Attributes["signal"])
			}
		}
	}
	p.awaitLog("sig", "ready\nready\nready\n")
	p.docker("stop", "-t", "60", "sig")
	require.Equal(t, "9\n", p.docker("wait", "sig"))
}
