package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestUserns: run, exec, cp and a volume in a user namespace of the container's own.
func TestUserns(t *testing.T) {
	testenv.RequireKernel(t, 5, 19)
	h := newHost(t)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	ids := "cat /proc/self/uid_map; stat -c %u:%g /data"
	require.Equal(t, "0 0 4294967295 0:0", strings.Join(strings.Fields(h.output("run", "--rm", "--userns=host", "-v", "data:/data", h.image, "sh", "-c", ids)), " "))
	h.output("run", "-d", "--network", "none", "--name", "one", "--userns=auto", "-v", "data:/data", h.image, "sleep", "60")
	have := strings.Fields(h.output("exec", "one", "sh", "-c", ids))
	require.GreaterOrEqual(t, len(have), 4) // or more, while another test grants more
	require.NotEqual(t, "0", have[1])
	require.Equal(t, "0:0", have[len(have)-1])
	require.Equal(t, "auto", strings.TrimSpace(h.output("inspect", "-f", "{{.HostConfig.UsernsMode}}", "one")))
	h.output("rm", "-f", "one")
	h.output("volume", "rm", "data")
}

// TestUsernsKeepID: an ordinary user is itself in the container, where the image's root is another one, and what either writes stays
// theirs, in binds, volumes, committed and exported images.
func TestUsernsKeepID(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	u := testenv.NewUser(t, true)
	testenv.ReapOrphans(t)
	testenv.OpenTun(t)
	image := newRegistry(t) + "/busybox"
	bin := u.Command(t, "minidocker").Path
	run := func(want int, args ...string) string {
		t.Helper()
		c := u.Command(t, "minidocker", args...)
		c.Path = bin
		out, _ := c.CombinedOutput()
		require.Equal(t, want, c.ProcessState.ExitCode(), "%v: %s", args, out)
		return string(out)
	}
	run(0, "pull", "-q", image)
	bind := filepath.Join(u.Home, "bind")
	require.NoError(t, os.Mkdir(bind, 0o755))
	require.NoError(t, os.Chown(bind, u.ID, u.ID))

	// Detached, in a working directory that is not there, below a folder of root's; with a network.
	run(0, "run", "-d", "--name", "one", "--userns", "keep-id", "-w", "/made/here", "-v", bind+":/bind", "-v", "data:/home/app", image, "sleep", "600")
	require.Equal(t, fmt.Sprintf("%d %d /made/here 0:0 0:0 1000:1000 %d:%d\n", u.ID, u.ID, u.ID, u.ID), run(0, "exec", "one", "sh", "-c",
		"touch /bind/mine /tmp/mine; touch /etc/not 2>/dev/null || echo $(id -u; id -g; pwd; stat -c %u:%g / /bin/busybox /home/app /made/here)"))
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(filepath.Join(bind, "mine"), &st))
	require.EqualValues(t, u.ID, st.Uid)
	require.Equal(t, "0 app\n", run(0, "exec", "-u", "0", "one", "sh", "-c", "echo app >/etc/made; chown 1000 /etc/made; echo $(id -u) $(stat -c %U /etc/made)"))
	require.Equal(t, fmt.Sprintln(u.ID), run(0, "exec", "one", "id", "-u"))
	entry := fmt.Sprintf("%s:*:%d:%d:%s:/made/here:/bin/sh\n%s:x:%d:\n0:0 644\n", u.Name, u.ID, u.ID, u.Name, u.Name, u.ID)
	require.Equal(t, entry, run(0, "exec", "one", "sh", "-c", "tail -n 1 /etc/passwd; tail -n 1 /etc/group; stat -c '%u:%g %a' /etc/passwd"))
	require.Equal(t, u.Name+" /made/here\n", run(0, "exec", "one", "sh", "-c", "echo $(id -un) $HOME"))

	// Copies go into and come out of the folders of the container's root, closed ones too, and belong to it.
	run(0, "exec", "-u", "0", "one", "sh", "-c", "mkdir -m 700 /shut && echo inside >/shut/in && chmod 600 /shut/in && chown 7 /shut/in")
	require.NoError(t, os.WriteFile(filepath.Join(bind, "sent"), []byte("sent\n"), 0o600))
	require.NoError(t, os.Chown(filepath.Join(bind, "sent"), u.ID, u.ID))
	for _, to := range []string{"/etc/sent", "/shut", "/tmp"} {
		run(0, "cp", "bind/sent", "one:"+to)
	}
	run(0, "cp", "-a", "bind/sent", "one:/shut/own")
	require.Equal(t, fmt.Sprintf("0:0 0:0 0:0 %d:%d 7:0\n", u.ID, u.ID), run(0, "exec", "-u", "0", "one", "sh", "-c", "echo $(stat -c %u:%g /etc/sent /shut/sent /tmp/sent /shut/own /shut/in)"))
	run(0, "cp", "one:/shut", "out")
	b, err := os.ReadFile(filepath.Join(u.Home, "out", "in"))
	require.NoError(t, err)
	require.Equal(t, "inside\n", string(b))
	run(0, "rm", "-f", "one")

	// Without keep-id the user is root there, and the image's user is another one.
	run(0, "run", "-d", "--name", "root", image, "sleep", "600")
	run(0, "exec", "-u", "app", "root", "sh", "-c", "umask 077; mkdir /tmp/app; echo inside >/tmp/app/in")
	run(0, "cp", "bind/sent", "root:/tmp/app")
	require.Equal(t, "0:0\n", run(0, "exec", "root", "stat", "-c", "%u:%g", "/tmp/app/sent"))
	require.Contains(t, run(0, "cp", "root:/tmp/app/in", "-"), "inside")
	run(0, "rm", "-f", "root")

	// Others' ids, and the image as another user of it has it.
	require.Equal(t, "7 9\n", run(0, "run", "--name", "two", "--userns", "keep-id:uid=7,gid=9", image, "sh", "-c", "touch /tmp/seven; echo $(id -u) $(id -g)"))
	run(0, "start", "-a", "two")
	run(0, "cp", "two:/etc/passwd", "passwd")
	b, err = os.ReadFile(filepath.Join(u.Home, "passwd"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(b), u.Name+":*:7:9:"), "once, however often it is started")
	run(0, "commit", "two", "kept")
	require.Equal(t, "0:0 7:9 1000:1000\n", run(0, "run", "--rm", "kept", "sh", "-c", "echo $(stat -c %u:%g /bin/busybox /tmp/seven /home/app)"))
	require.Equal(t, "0:0 7:9\n", run(0, "run", "--rm", "--userns", "keep-id", "kept", "sh", "-c", "echo $(stat -c %u:%g /bin/busybox /tmp/seven)"))
	run(0, "export", "-o", "all.tar", "two")
	list := u.Command(t, "true")
	list.Path, list.Args = "/bin/sh", []string{"sh", "-c", "tar --numeric-owner -tvf all.tar | grep -E ' (./)?(tmp/seven|home/app/|bin/busybox)$'"}
	out, err := list.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Regexp(t, `(?s)0/0.*1000/1000.*7/9`, string(out))
	run(0, "cp", "two:/tmp/seven", ".")
	require.Equal(t, "0\n", run(0, "run", "--rm", "--userns", "host", image, "id", "-u"))
	require.Equal(t, "1000\n", run(0, "run", "--rm", "--userns", "keep-id", "-u", "app", image, "id", "-u"))
	require.Contains(t, run(0, "run", "--explain", "--userns", "keep-id", image, "true"), "unshare")

	require.Contains(t, run(125, "run", "--userns", "keep-id:size=3", image, "true"), `"size=3" is neither`)
	require.Contains(t, run(125, "run", "--userns", "auto", image, "true"), "use keep-id")
	require.Contains(t, run(125, "run", "--rm", "--userns", "keep-id", "--mount", "type=image,source="+image+",target=/i", image, "true"), "an image at /i does not go")
	run(0, "rm", "two")
	run(0, "volume", "rm", "data")
	run(0, "rmi", "kept", image)

	alone := testenv.NewUser(t, false).Command(t, "minidocker", "run", "--rm", "--userns", "keep-id", "hello-world")
	out, err = alone.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "/etc/subuid grants nothing to user")
}
