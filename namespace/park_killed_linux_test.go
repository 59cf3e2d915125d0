package namespace

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() { programs["park"] = park }

// park parks a process, or starts it with StartReady, and is killed in the given callback of the start, when it has printed the process's number.
func park(args []string) int {
	l := ociLaunch(Dir(args[1]), "true")
	if args[3] == "users" {
		l.UIDMappings = []IDMapping{{ContainerID: 0, HostID: 0, Size: 65536}}
		l.GIDMappings = l.UIDMappings
	}
	end := func(p *Process) error {
		time.Sleep(50 * time.Millisecond) // the process goes on as far as it may
		fmt.Println(p.Pid())
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	l.Created = func(*Process) error { return nil }
	switch args[4] {
	case "Created":
		l.Created = end
	case "CgroupPaths":
		l.CgroupPaths, l.Created = []string{args[2] + "/tasks"}, end
	case "JoinCgroups":
		l.CgroupPaths = []string{"/dev/null"}
		l.Created = func(p *Process) error {
			if err := p.JoinCgroups(); err != nil {
				return err
			}
			return end(p)
		}
	case "BeforeRoot":
		l.BeforeRoot = end
	}
	if args[4] == "ready" {
		_, err := l.StartReady(context.Background(), end)
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p, err := l.Park(context.Background(), args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = end(p)
	return 1
}

// TestParkKilled: a process outlives a program that parks it and is killed only if Created has returned: then it is known. One that
// is not to be parked does not.
func TestParkKilled(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	root := trueRootfs(t)
	self, err := os.Executable()
	require.NoError(t, err)
	for _, users := range []string{"", "users"} {
		for _, when := range []string{"Created", "CgroupPaths", "JoinCgroups", "BeforeRoot", "ready", "parked"} {
			if users != "" && strings.Contains(when, "Cgroup") {
				continue // it waits for its maps until it has joined
			}
			dir := t.TempDir()
			cmd := exec.Command(self)
			cmd.Args = []string{"park", root, dir, users, when}
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run()
			require.Empty(t, stderr.String())
			pid, err := strconv.Atoi(strings.TrimSpace(stdout.String()))
			require.NoError(t, err)
			p, err := FindProcess(pid)
			require.NoError(t, err, "it is not reaped yet")
			if when == "parked" {
				require.True(t, Parked(dir))
				require.NoError(t, p.Signal(syscall.SIGKILL))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err = p.Wait(ctx)
			cancel()
			require.NoError(t, err, "killed in %s, user namespace: %q", when, users)
			require.NoError(t, p.Close())
			require.False(t, Parked(dir))
		}
	}
}

// TestParkCreated: an error of Created undoes the start.
func TestParkCreated(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	l := ociLaunch(Dir(trueRootfs(t)), "true")
	l.Created = func(*Process) error { return io.ErrShortWrite }
	before := descriptors(t)
	_, err := l.Park(t.Context(), dir)
	require.ErrorIs(t, err, io.ErrShortWrite)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Equal(t, before, descriptors(t))
}
