package namespace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// detachedRoot is a root that has no path on the host.
func detachedRoot(t *testing.T, dir string) *Root {
	t.Helper()
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	require.NoError(t, err)
	r := Detached(os.NewFile(uintptr(fd), dir), "detached", nil)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// rootPlace is a folder to which only root gets, that anybody may enter.
func rootPlace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	place := filepath.Join(dir, "rootfs")
	require.NoError(t, os.Mkdir(place, 0o755))
	return place
}

// TestRootAt: a root that has no path is found at one while the host's paths are there, and nowhere on the host; a process with a
// keeper and one in a user namespace of its own too. Then it is in its root.
func TestRootAt(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	host := testenv.NewRootfs(t, "describe")
	place := rootPlace(t)
	for _, x := range []struct{ users, keep bool }{{}, {users: true}, {keep: true}, {users: true, keep: true}} {
		t.Run(fmt.Sprintf("users=%v,keep=%v", x.users, x.keep), func(t *testing.T) {
			l := ociLaunch(detachedRoot(t, host), "describe")
			l.MaskedPaths = append(l.MaskedPaths, "/etc/passwd")
			if x.users {
				l.UIDMappings = []IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
				l.GIDMappings = l.UIDMappings
			}
			if x.keep {
				l.Keep = &Keep{Dir: t.TempDir()}
			}
			seen := func(p *Process, name string) bool {
				_, err := os.Lstat(filepath.Join("/proc", fmt.Sprint(p.Pid()), "root", name))
				return err == nil
			}
			l.RootAt = place
			var called []string
			l.BeforeRoot = func(p *Process) error {
				called = append(called, "BeforeRoot")
				require.True(t, seen(p, place+"/proc/self"))
				require.True(t, seen(p, place+"/bin/describe"))
				left, err := os.ReadDir(place)
				require.NoError(t, err)
				require.Empty(t, left)
				return nil
			}
			l.BeforeCommand = func(p *Process) error {
				called = append(called, "BeforeCommand")
				require.True(t, seen(p, "bin/describe"))
				require.False(t, seen(p, place))
				return nil
			}
			p, err := l.Start(t.Context())
			require.NoError(t, err)
			s, err := p.Wait(t.Context())
			require.NoError(t, err)
			require.Zero(t, s.Code)
			require.NoError(t, p.Close())
			require.Equal(t, []string{"BeforeRoot", "BeforeCommand"}, called)
		})
	}
}

// TestBeforeCommand is called without a BeforeRoot too; its error, and the end of the context meanwhile, undo the start.
func TestBeforeCommand(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	l := failLaunch(t)
	called := 0
	l.BeforeCommand = func(p *Process) error {
		called++
		_, err := os.Stat(filepath.Join("/proc", fmt.Sprint(p.Pid()), "root/proc/uptime"))
		return err
	}
	run(t, l)
	require.Equal(t, 1, called)
	before := descriptors(t)
	l.BeforeCommand = func(*Process) error { return os.ErrPermission }
	for _, keep := range []bool{false, true} {
		l.BeforeRoot, l.RootAt, l.Keep = nil, "", nil
		if keep {
			dir := t.TempDir()
			l.BeforeRoot, l.RootAt = func(*Process) error { return nil }, rootPlace(t)
			l.Keep = &Keep{Dir: dir}
		}
		_, err := l.Start(t.Context())
		require.ErrorIs(t, err, os.ErrPermission)
		require.Equal(t, before, descriptors(t))
	}
	l.BeforeRoot, l.RootAt, l.Keep = nil, "", nil
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	l.BeforeCommand = func(*Process) error { <-ctx.Done(); return ctx.Err() }
	_, err := l.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, before, descriptors(t))
}

func TestRootAtFailEachStep(t *testing.T) {
	testenv.RequireRoot(t)
	l := failLaunch(t)
	l.RootAt = rootPlace(t)
	l.BeforeRoot, l.BeforeCommand = func(*Process) error { return nil }, func(*Process) error { return nil }
	failEachStep(t, l)
	failEachFile(t, l)
}

func TestBadRootAt(t *testing.T) {
	nothing := func(*Process) error { return nil }
	for want, l := range map[string]*Launch{
		"BeforeRoot":    {Root: Dir("/x"), BeforeRoot: nil, RootAt: "/y"},
		"not an abs":    {Root: Dir("/x"), BeforeRoot: nothing, RootAt: "y"},
		"shortest form": {Root: Dir("/x"), BeforeRoot: nothing, RootAt: "/y/"},
		"new mount":     {Root: Dir("/x"), BeforeRoot: nothing, RootAt: "/y", Namespaces: Namespaces{Mount: Namespace{Host: true}}},
		"BeforeCommand": {BeforeCommand: nothing, Namespaces: Namespaces{Mount: Namespace{Host: true}}},
	} {
		l.Args = []string{"x"}
		_, err := l.Program()
		require.ErrorContains(t, err, want)
	}
}
