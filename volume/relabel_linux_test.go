package volume

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

const (
	ownContext    = "system_u:object_r:container_file_t:s0:c1,c2"
	sharedContext = "system_u:object_r:container_file_t:s0"
)

// TestRelabel: all below a folder gets the context, links themselves and nothing that they lead to.
func TestRelabel(t *testing.T) {
	testenv.RequireRoot(t)
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	if unix.Lsetxattr(dir, selinuxName, []byte(sharedContext), 0) != nil {
		testenv.Skip(t, "a file system, or a policy, that takes contexts")
	}
	require.NoError(t, os.WriteFile(other, nil, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	for _, name := range []string{"file", "a/b/file"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0))
	}
	require.NoError(t, os.Symlink(other, filepath.Join(dir, "a/link")))
	require.NoError(t, os.Symlink("..", filepath.Join(dir, "a/up")))
	labelOf := func(path string) string {
		b := make([]byte, 100)
		n, err := unix.Lgetxattr(path, selinuxName, b)
		if errors.Is(err, unix.ENODATA) {
			return ""
		}
		require.NoError(t, err, path)
		return string(b[:n])
	}
	before := labelOf(other)
	require.NoError(t, Relabel(t.Context(), dir, ownContext))
	for _, name := range []string{"", "file", "a", "a/b", "a/b/file", "a/link", "a/up"} {
		require.Equal(t, ownContext, labelOf(filepath.Join(dir, name)), name)
	}
	require.Equal(t, before, labelOf(other))
	require.NoError(t, Relabel(t.Context(), filepath.Join(dir, "file"), sharedContext))
	require.Equal(t, sharedContext, labelOf(filepath.Join(dir, "file")))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Relabel(ended, dir, sharedContext), context.Canceled)
	require.Equal(t, ownContext, labelOf(dir))
	require.ErrorIs(t, Relabel(t.Context(), filepath.Join(dir, "nosuch"), ownContext), fs.ErrNotExist)
}

// TestRelabelDeep: folders in folders take one descriptor each, and there is an end of them.
func TestRelabelDeep(t *testing.T) {
	testenv.RequireRoot(t)
	top := t.TempDir()
	fd, err := unix.Open(top, unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	deeper := func(n int) {
		for range n {
			require.NoError(t, unix.Mkdirat(fd, "d", 0o700))
			next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			require.NoError(t, unix.Close(fd))
			fd = next
		}
	}
	defer func() { require.NoError(t, unix.Close(fd)) }()
	deeper(maxRelabelDepth - 1)
	if err := unix.Lsetxattr(top, selinuxName, []byte(sharedContext), 0); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		testenv.Skip(t, "a policy that takes contexts")
	}
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	few := limit
	few.Cur = min(few.Cur, maxRelabelDepth+512)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	err = Relabel(t.Context(), top, ownContext)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, err)
	deeper(2)
	require.ErrorIs(t, Relabel(t.Context(), top, ownContext), fs.ErrInvalid)
}

// TestRelabelRefuses: folders that the host needs, also by a link to them.
func TestRelabelRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"/", "/etc", "/usr", "/home", "/var/lib", "/proc/self", "/sys/fs", "/etc/../etc/"} {
		if _, err := os.Stat(path); err == nil { // there is not much on a machine made for tests
			require.ErrorIs(t, Relabel(t.Context(), path, ownContext), fs.ErrPermission, path)
		}
	}
	require.NoError(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	require.ErrorContains(t, Relabel(t.Context(), filepath.Join(dir, "link"), ownContext), "SELinux relabeling of /etc is not allowed")
	require.Equal(t, sharedContext, SharedContext(ownContext))
	require.Equal(t, sharedContext, SharedContext(sharedContext))
	require.Equal(t, "label", SharedContext("label"))
}
