package dockerapi

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListenUnix(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("modes of sockets are Linux's")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "s.sock")
	l, err := Listen(t.Context(), "unix://"+path, nil)
	require.NoError(t, err)
	st, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, st.Mode())
	first := l
	go func() {
		if c, err := first.Accept(); err == nil {
			_ = c.Close()
		}
	}()
	_, err = Listen(t.Context(), "unix://"+path, nil)
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, l.Close())
	require.NoFileExists(t, path)

	// What a killed program left is replaced, what is no socket is not.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close())
	l, err = Listen(t.Context(), "unix://"+path, &ListenOptions{Group: strconv.Itoa(os.Getgid())})
	require.NoError(t, err)
	st, err = os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o660, st.Mode())
	// One that is another one's by now is not removed.
	require.NoError(t, os.Rename(path, path+".old"))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, l.Close())
	require.FileExists(t, path)
	_, err = Listen(t.Context(), "unix://"+path, nil)
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, os.Remove(path+".old"))
	require.NoError(t, os.Remove(path))
	_, err = Listen(t.Context(), "unix://"+path, &ListenOptions{Group: "no-such-group"})
	require.ErrorContains(t, err, "no-such-group")
	rest, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, rest)
}

func TestListenRefuses(t *testing.T) {
	for _, address := range []string{"", "unix://x", "unix:x", "/run/x", "fd://", "tcp://127.0.0.1", "tcp://127.0.0.1:1/x", "http://127.0.0.1:1", "%"} {
		_, err := Listen(t.Context(), address, &ListenOptions{InsecureLoopback: true})
		require.Error(t, err, address)
	}
	for _, address := range []string{"tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://localhost:0", "tcp://192.0.2.1:0"} {
		_, err := Listen(t.Context(), address, &ListenOptions{InsecureLoopback: true})
		require.ErrorIs(t, err, fs.ErrPermission, address)
	}
	_, err := Listen(t.Context(), "tcp://127.0.0.1:0", nil)
	require.ErrorIs(t, err, fs.ErrPermission)
	l, err := Listen(t.Context(), "tcp://127.0.0.1:0", &ListenOptions{InsecureLoopback: true})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = Listen(t.Context(), "tcp://127.0.0.1:0", &ListenOptions{CertFile: "/nothing", InsecureLoopback: true})
	require.ErrorIs(t, err, fs.ErrNotExist)
}
