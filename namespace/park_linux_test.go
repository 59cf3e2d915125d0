package namespace

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// ociLaunch asks for what defaultLaunch does in the way of an OCI configuration: /dev is a tmpfs as any.
func ociLaunch(root *Root, args ...string) *Launch {
	l := defaultLaunch(root, args...)
	const strict = NoSuid | NoDev | NoExec
	l.Mounts = []Mount{
		{Type: "proc", Target: "/proc", Flags: strict},
		{Type: "tmpfs", Target: "/dev", Flags: NoSuid | StrictAtime, Data: "mode=755,size=65536k"},
		{Type: "devpts", Target: "/dev/pts", Flags: NoSuid | NoExec, Data: "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{Type: "tmpfs", Target: "/dev/shm", Source: "shm", Flags: strict, Data: "mode=1777,size=65536k"},
		{Type: "mqueue", Target: "/dev/mqueue", Flags: strict},
		{Type: "sysfs", Target: "/sys", Flags: strict | ReadOnly},
		{Type: "nodes", Target: "/dev"},
	}
	return l
}

var anyNumber = regexp.MustCompile(`State:.*|\s*\b\d+|tmpfs empty r[ow]`)

func TestPark(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(testenv.NewRootfs(t, "describe"))
	whole, s := output(t, ociLaunch(root, "describe"))
	require.Zero(t, s.Code)
	for _, beforeRoot := range []bool{false, true} {
		dir := t.TempDir()
		require.False(t, Parked(dir))
		l := ociLaunch(root, "describe")
		called := false
		if beforeRoot {
			l.BeforeRoot = func(*Process) error { called = true; return nil }
		}
		r, w, err := os.Pipe()
		require.NoError(t, err)
		l.Stdout, l.Stderr = w, w
		p, err := l.Park(t.Context(), dir)
		require.NoError(t, w.Close())
		require.NoError(t, err)
		require.Equal(t, beforeRoot, called)
		require.True(t, Parked(dir))

		q, err := FindProcess(p.Pid())
		require.NoError(t, err)
		require.NoError(t, q.Signal(0))
		require.NoError(t, q.Close())

		require.NoError(t, Unpark(t.Context(), dir))
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		plain := func(s string) string { return anyNumber.ReplaceAllString(s, " N") }
		require.Equal(t, plain(whole), plain(string(b)), "it finds itself as one that was started whole (BeforeRoot: %v)", beforeRoot)
		_, err = p.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Close())
		require.ErrorIs(t, Unpark(t.Context(), dir), ErrNotParked)
		require.False(t, Parked(dir))
	}
}

// A command that is not there is found when the process is parked, one that the kernel refuses when it is executed.
func TestParkCommand(t *testing.T) {
	testenv.RequireRoot(t)
	host := trueRootfs(t)
	require.NoError(t, os.WriteFile(filepath.Join(host, "bin/no"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(host, "bin/empty"), nil, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(host, "bin/folder"), 0o755))
	root, before := Dir(host), descriptors(t)
	for _, c := range []struct {
		command string
		err     error
	}{
		{"nothing", syscall.ENOENT}, {"/bin/nothing", syscall.ENOENT}, {"no", syscall.EACCES}, {"/bin/no", syscall.EACCES},
		{"/bin/folder", syscall.EACCES}, {"folder", syscall.EACCES}, {"/bin/true/x", syscall.ENOENT},
	} {
		dir := t.TempDir()
		_, err := ociLaunch(root, c.command).Park(t.Context(), dir)
		var start *StartError
		require.ErrorAs(t, err, &start, c.command)
		require.ErrorIs(t, err, c.err, c.command)
		require.Equal(t, StartError{"execve", c.command, start.Err}, *start)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	dir := t.TempDir()
	p, err := ociLaunch(root, "empty").Park(t.Context(), dir)
	require.NoError(t, err)
	require.ErrorIs(t, Unpark(t.Context(), dir), syscall.ENOEXEC)
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.Equal(t, before, descriptors(t))
}

// TestParkJoins: the process joins its control groups when it is told to, not before.
func TestParkJoins(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	tasks := filepath.Join(dir, "tasks") // which is as good as one of a hierarchy
	l := ociLaunch(Dir(trueRootfs(t)), "true")
	l.CgroupPaths = []string{tasks}
	l.Created = func(p *Process) error {
		if err := os.WriteFile(tasks, nil, 0o600); err != nil {
			return err
		}
		return p.JoinCgroups()
	}
	p, err := l.Park(t.Context(), dir)
	require.NoError(t, err)
	b, err := os.ReadFile(tasks)
	require.NoError(t, err)
	require.Equal(t, "0", string(b))
	require.True(t, Parked(dir))
	require.NoError(t, Unpark(t.Context(), dir))
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.Code)
	require.ErrorIs(t, p.JoinCgroups(), ErrNotParked)
	require.NoError(t, p.Close())

	dir = t.TempDir()
	l.Created = func(*Process) error { return io.ErrUnexpectedEOF }
	_, err = l.Park(t.Context(), dir)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestParkLeavesNothing(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(trueRootfs(t))
	before := descriptors(t)
	dir := t.TempDir()
	p, err := ociLaunch(root, "true").Park(t.Context(), dir)
	require.NoError(t, err)
	_, err = ociLaunch(root, "true").Park(t.Context(), dir)
	require.ErrorIs(t, err, syscall.EEXIST)
	require.True(t, Parked(dir))
	require.NoError(t, p.Signal(syscall.SIGTERM)) // the first process of a PID namespace does not take it
	time.Sleep(10 * time.Millisecond)
	require.True(t, Parked(dir))
	require.NoError(t, p.Signal(syscall.SIGKILL))
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.ErrorIs(t, Unpark(t.Context(), dir), ErrNotParked)

	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	l := ociLaunch(root, "true")
	l.BeforeRoot = func(*Process) error { <-ctx.Done(); return ctx.Err() }
	_, err = l.Park(ctx, dir)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Equal(t, before, descriptors(t))
}

// TestParkFailEachStep fails every step of a start by the host's paths in turn.
func TestParkFailEachStep(t *testing.T) {
	testenv.RequireRoot(t)
	l := failLaunch(t)
	l.BeforeRoot = func(*Process) error { return nil }
	failEachStep(t, l)
}

// TestBeforeRoot looks at the container from its own mount namespace, while the host's paths are there.
func TestBeforeRoot(t *testing.T) {
	testenv.RequireRoot(t)
	host := testenv.NewRootfs(t, "describe")
	shared := t.TempDir()
	for _, users := range []bool{false, true} {
		l := ociLaunch(Dir(host), "describe")
		l.MaskedPaths = append(l.MaskedPaths, "/etc/passwd")
		if users {
			l.UIDMappings = []IDMapping{{ContainerID: 0, HostID: 0, Size: 65536}}
			l.GIDMappings = l.UIDMappings
		}
		l.BeforeRoot = func(p *Process) error {
			seen := filepath.Join("/proc", strconv.Itoa(p.Pid()), "root")
			for _, name := range []string{"proc/self", "dev/null", "dev/pts/ptmx", "sys/class"} {
				_, err := os.Lstat(filepath.Join(seen, host, name))
				require.NoError(t, err, "%s, user namespace: %v", name, users)
			}
			_, err := os.Lstat(filepath.Join(seen, shared))
			require.NoError(t, err)
			return nil
		}
		p, err := l.Start(t.Context())
		require.NoError(t, err)
		_, err = p.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Close())
	}
	l := ociLaunch(Dir(host), "describe")
	l.BeforeRoot = func(*Process) error { return os.ErrPermission }
	_, err := l.Start(t.Context())
	require.ErrorIs(t, err, os.ErrPermission)
	l.Root = Dir("relative")
	_, err = l.Start(t.Context())
	require.ErrorContains(t, err, "BeforeRoot")
}
