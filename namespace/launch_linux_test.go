package namespace

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// defaultLaunch is what a container of the container package starts with.
func defaultLaunch(root *Root, args ...string) *Launch {
	caps := DefaultCapabilitySet()
	const strict = NoSuid | NoDev | NoExec
	return &Launch{
		Args: args, Root: root, Hostname: "box",
		Mounts: []Mount{
			{Type: "proc", Target: "/proc", Flags: strict},
			{Type: "dev", Target: "/dev"},
			{Type: "sysfs", Target: "/sys", Flags: strict | ReadOnly},
		},
		MaskedPaths: []string{
			"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
			"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
			"/sys/firmware",
		},
		ReadOnlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		Capabilities:  Capabilities{Bounding: caps, Effective: caps, Permitted: caps},
	}
}

// output runs the launch and returns what it wrote and how it ended.
func output(t *testing.T, l *Launch) (string, *State) {
	t.Helper()
	return outputOf(t, l, func() (*Process, error) { return l.Start(t.Context()) })
}

// outputOf is output for another way to start.
func outputOf(t *testing.T, l *Launch, start func() (*Process, error)) (string, *State) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	l.Stdout, l.Stderr = w, w
	p, err := start()
	require.NoError(t, w.Close())
	require.NoError(t, err)
	defer p.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	s, err := p.Wait(context.Background())
	require.NoError(t, err)
	return string(b), s
}

func TestLaunch(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(testenv.NewRootfs(t, "describe"))
	out, s := output(t, defaultLaunch(root, "describe"))
	t.Log(out)
	require.Zero(t, s.Code)
	for _, want := range []string{"hostname box\n", "pid 1\n", "cwd /\n", "uid 0 0 0\n"} {
		require.Contains(t, out, want)
	}
}

func TestLaunchExitStatus(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(testenv.NewRootfs(t, "describe"))
	_, s := output(t, defaultLaunch(root, "describe", "exit", "42"))
	require.Equal(t, 42, s.Code)

	p, err := defaultLaunch(root, "/bin/describe", "sleep").Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = p.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	for range 2 {
		s, err = p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, -1, s.Code)
		require.Equal(t, int(syscall.SIGKILL), s.Signal)
	}
	require.ErrorIs(t, p.Signal(syscall.SIGKILL), os.ErrProcessDone)
}

func TestCommandNotFound(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "describe")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin/plain"), []byte("no program"), 0o644))
	for _, c := range []struct {
		command string
		errno   syscall.Errno
	}{{"nothing", unix.ENOENT}, {"/bin/nothing", unix.ENOENT}, {"plain", unix.EACCES}, {"/bin/plain", unix.EACCES}} {
		_, err := defaultLaunch(Dir(dir), c.command).Start(t.Context())
		var start *StartError
		require.ErrorAs(t, err, &start, c.command)
		require.Equal(t, "execve", start.Step)
		require.Equal(t, c.command, start.Path)
		require.ErrorIs(t, err, c.errno)
	}
}

func TestMissingRoot(t *testing.T) {
	testenv.RequireRoot(t)
	_, err := defaultLaunch(Dir("/does/not/exist"), "x").Start(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Contains(t, err.Error(), "/does/not/exist")
}

// describe is a helper program: it says how it finds itself.
func describe(args []string) int {
	if len(args) > 1 {
		switch args[1] {
		case "exit":
			return len(args[2]) * 21
		case "sleep":
			time.Sleep(time.Hour)
		}
	}
	host, _ := os.Hostname()
	wd, _ := os.Getwd()
	println("hostname", host)
	println("pid", os.Getpid())
	println("cwd", wd)
	println("uid", os.Getuid(), os.Geteuid(), os.Getgid())
	for _, f := range []string{"/proc/self/mountinfo", "/proc/self/status", "/proc/net/dev", "/proc/self/cgroup"} {
		b, err := os.ReadFile(f)
		if err != nil {
			println(err.Error())
		}
		print(string(b))
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	var names []string
	for _, e := range fds {
		l, _ := os.Readlink("/proc/self/fd/" + e.Name())
		names = append(names, e.Name()+"="+l)
	}
	println("fds", strings.Join(names, " "))
	return 0
}
