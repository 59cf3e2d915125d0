package namespace

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// TestStartReady: the process finds itself as one that was started whole; when ready is called it has its root and its privileges,
// and has not executed its command.
func TestStartReady(t *testing.T) {
	testenv.RequireRoot(t)
	host := testenv.NewRootfs(t, "describe")
	root := Dir(host)
	whole, s := output(t, ociLaunch(root, "describe"))
	require.Zero(t, s.Code)
	before := descriptors(t)
	for _, beforeRoot := range []bool{false, true} {
		l := ociLaunch(root, "describe")
		tasks := filepath.Join(t.TempDir(), "tasks") // which is as good as one of a hierarchy
		l.CgroupPaths = []string{tasks}
		l.Created = func(p *Process) error {
			if err := os.WriteFile(tasks, nil, 0o600); err != nil {
				return err
			}
			return p.JoinCgroups()
		}
		if beforeRoot {
			l.BeforeRoot = func(*Process) error { return nil }
		}
		r, w, err := os.Pipe()
		require.NoError(t, err)
		l.Stdout, l.Stderr = w, w
		called := false
		p, err := l.StartReady(t.Context(), func(p *Process) error {
			called = true
			require.True(t, p.SettingUp())
			own, err := os.Stat(filepath.Join("/proc", strconv.Itoa(p.Pid()), "root"))
			require.NoError(t, err)
			there, err := os.Stat(host)
			require.NoError(t, err)
			require.True(t, os.SameFile(own, there))
			b, err := os.ReadFile(tasks)
			require.NoError(t, err)
			require.Equal(t, "0", string(b))
			return nil
		})
		require.NoError(t, w.Close())
		require.NoError(t, err)
		require.True(t, called)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		plain := func(s string) string { return anyNumber.ReplaceAllString(s, " N") }
		require.Equal(t, plain(whole), plain(string(b)), "BeforeRoot: %v", beforeRoot)
		s, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Zero(t, s.Code)
		require.NoError(t, p.Close())
	}
	require.Equal(t, before, descriptors(t))
}

// TestStartReadyFails: an error of the callback or of the command leaves nothing.
func TestStartReadyFails(t *testing.T) {
	testenv.RequireRoot(t)
	host := trueRootfs(t)
	require.NoError(t, os.WriteFile(filepath.Join(host, "bin/empty"), nil, 0o755))
	root, before := Dir(host), descriptors(t)
	var first *Process
	_, err := ociLaunch(root, "true").StartReady(t.Context(), func(p *Process) error {
		first = p
		return io.ErrShortWrite
	})
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.ErrorIs(t, syscall.Kill(first.Pid(), 0), syscall.ESRCH)
	for command, want := range map[string]error{
		"nothing": syscall.ENOENT, "/bin/nothing": syscall.ENOENT, "/bin": syscall.EACCES, "empty": syscall.ENOEXEC,
	} {
		called := false
		_, err := ociLaunch(root, command).StartReady(t.Context(), func(*Process) error { called = true; return nil })
		var start *StartError
		require.ErrorAs(t, err, &start, command)
		require.ErrorIs(t, err, want, command)
		require.Equal(t, "execve", start.Step)
		require.True(t, called)
	}
	l := ociLaunch(root, "true")
	l.Dir = "/nothing"
	_, err = l.StartReady(t.Context(), func(*Process) error { t.Error("called"); return nil })
	require.ErrorIs(t, err, syscall.ENOENT)
	l = ociLaunch(root, "true")
	l.Init = true
	_, err = l.StartReady(t.Context(), nil)
	require.ErrorContains(t, err, "Gate")
	require.Equal(t, before, descriptors(t))
}
