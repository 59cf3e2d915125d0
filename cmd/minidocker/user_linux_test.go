package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestOrdinaryUser runs the commands as an ordinary user, with subordinate ids and without.
func TestOrdinaryUser(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	testenv.OpenTun(t)
	host := newRegistry(t)
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprint(ranges), func(t *testing.T) {
			u := testenv.NewUser(t, ranges)
			bin := u.Command(t, "minidocker").Path
			run := func(want int, args ...string) string {
				t.Helper()
				c := u.Command(t, "minidocker", args...)
				c.Path = bin
				var out bytes.Buffer
				c.Stdout, c.Stderr = &out, &out
				_ = c.Run()
				require.Equal(t, want, c.ProcessState.ExitCode(), "%v: %s", args, out.String())
				return out.String()
			}
			image := host + "/busybox"
			require.Contains(t, run(0, "run", "--rm", "hello-world"), "Hello from")
			run(0, "pull", "-q", image)
			require.Contains(t, run(0, "images"), "busybox")
			require.Equal(t, "0\n", run(0, "run", "--rm", image, "id", "-u"))
			info := run(0, "info")
			require.Contains(t, info, "Root Dir: "+filepath.Join(u.Home, ".local/share/caisson"))
			require.NotContains(t, info, "no overlay")

			// Users of the image are there as far as the user's ids go.
			if ranges {
				require.Equal(t, "1000:1000 1000\n", run(0, "run", "--rm", "-u", "app", image, "sh", "-c",
					"echo $(stat -c %u:%g /home/app) $(id -u)"))
			} else {
				require.Contains(t, run(125, "run", "--rm", "-u", "app", image, "id"), "the id 1000, the process's user, is not in the map")
			}
			// What is written stays, and is committed and removed, whoever it belongs to.
			run(0, "run", "--name", "writer", image, "sh", "-c", "mkdir -m 700 /d && echo x >/d/f && rm /etc/group && (chown -R 5:6 /d || true)")
			run(0, "commit", "writer", "written")
			want := "0:0\n"
			if ranges {
				want = "5:6\n"
			}
			require.Equal(t, want, run(0, "run", "--rm", "written", "sh", "-c", "[ ! -e /etc/group ] && stat -c %u:%g /d/f"))
			run(0, "rm", "writer")

			// Detached, entered, stopped.
			run(0, "run", "-d", "--network", "none", "--name", "one", "-v", "data:/data", image, "sh", "-c", "echo out; echo err >&2; touch /data/there; sleep 60")
			require.Contains(t, run(0, "ps"), "Up ")
			require.Equal(t, "there\n", run(0, "exec", "one", "sh", "-c", "until [ -e /data/there ]; do sleep 0.1; done; ls /data"))
			require.Equal(t, "out\nerr\n", run(0, "logs", "one"))
			run(3, "exec", "one", "sh", "-c", "exit 3")
			run(127, "exec", "-w", "/nothing", "one", "true")
			run(126, "exec", "-d", "-u", "unknown", "one", "true")
			run(0, "stop", "-t", "1", "one")
			require.Regexp(t, `Exited \((137|143)\)`, run(0, "ps", "-a"))
			run(0, "rm", "one")
			run(0, "volume", "rm", "data")
			require.Equal(t, "hi\r\n", run(0, "run", "--rm", "-t", image, "echo", "hi"))

			// Asked whether it is well.
			run(0, "run", "-d", "--network", "none", "--name", "ill", "--health-cmd", "test -e /well", "--health-interval", "20ms", "--health-retries", "1",
				image, "sleep", "600")
			status := func(want string) {
				t.Helper()
				require.Eventually(t, func() bool { return strings.Contains(run(0, "ps"), want) }, time.Minute, 20*time.Millisecond)
			}
			status("(unhealthy)")
			run(0, "exec", "ill", "touch", "/well")
			status("(healthy)")
			run(0, "rm", "-f", "ill")

			// In background its network is a supervisor's, and when that was killed another's.
			run(0, "run", "-d", "--name", "web", "-p", "127.0.0.1:0:80", image, "sh", "-c", "httpd -p 80 -h /etc; exec sleep 600")
			run(0, "run", "-d", "--name", "two", image, "sleep", "600")
			asks := func() {
				require.Equal(t, "web\n", run(0, "exec", "two", "sh", "-c",
					"for i in 1 2 3 4 5 6 7 8 9; do busybox wget -qO - http://web/hostname >/dev/null && echo web && exit; sleep 0.3; done"))
			}
			asks()
			require.NoError(t, killSupervisorOf(filepath.Join(u.Home, ".local/share/caisson")))
			require.Contains(t, run(0, "ps"), "web")
			asks()
			require.Contains(t, run(0, "stats", "--no-stream"), "web") // of containers without a control group, say
			run(0, "network", "create", "more")
			run(0, "network", "connect", "more", "two")
			require.Contains(t, run(0, "exec", "two", "ip", "-o", "link"), "eth1")
			run(0, "network", "disconnect", "more", "two")
			run(0, "network", "rm", "more")
			run(0, "rm", "-f", "web", "two")

			// A volume gets what the image has.
			run(0, "pull", "-q", host+"/configured")
			require.Equal(t, "seed\n", run(0, "run", "--rm", "-u", "0", "--entrypoint", "cat", host+"/configured", "/data/seed"))

			for _, volume := range []string{"/d", "kept:/d", "kept:/d"} {
				require.Equal(t, want+"x\n", run(0, "run", "--rm", "-v", volume, "written", "sh", "-c", "stat -c %u:%g /d; cat /d/f"))
			}
			run(0, "volume", "rm", "kept")

			// The host's network, and limits, for which there is no control group.
			require.Contains(t, run(0, "run", "--rm", "--network", "host", image, "cat", "/proc/net/dev"), "lo:")
			if os.Getenv("CAISSON_VM") == "" {
				require.Contains(t, run(125, "run", "--rm", "-m", "64m", image, "true"), "Memory takes a control group that is delegated to user")
			}
			run(0, "rmi", "written", image, host+"/configured", "hello-world")
			left := run(0, "info")
			require.Regexp(t, regexp.MustCompile(`Containers: 0\n(?s:.*)Images: 0\n`), left)
		})
	}
}
