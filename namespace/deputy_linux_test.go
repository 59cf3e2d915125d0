package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() { programs["deputize"] = deputize }

// deputize has calls made in a user namespace, by an ordinary user, and prints what comes of them.
func deputize([]string) int {
	d, err := NewDeputy(context.Background(), nil, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer d.Close()
	must := func(what string, err error) {
		if err != nil {
			fmt.Println(what, err)
		}
	}
	must("write", os.WriteFile("file", []byte("text"), 0o600))
	_, err = d.Call(unix.SYS_FCHOWNAT, atCWD, "file", 7, 8, 0)
	must("chown", err)
	_, err = os.ReadFile("file")
	fmt.Println("read:", err)
	dir, err := os.Open(".")
	must("open", err)
	f, err := d.Open("file", unix.SYS_OPENAT, dir, "file", unix.O_RDONLY)
	must("openat", err)
	b := make([]byte, 8)
	n, err := f.Read(b)
	fmt.Printf("%s %v\n", b[:n], err)
	_, err = d.Call(unix.SYS_LINKAT, dir, "file", dir, "link", 0)
	must("linkat", err)
	link := make([]byte, 16)
	must("symlink", os.Symlink("nowhere", "symlink"))
	n, err = d.Call(unix.SYS_READLINKAT, dir, "symlink", link, len(link))
	fmt.Printf("%s %v\n", link[:max(n, 0)], err)
	_, err = d.Call(unix.SYS_FCHOWNAT, atCWD, "file", 65537, 0, 0)
	fmt.Println("chown:", err, errors.Is(err, unix.EINVAL))
	_, err = d.Call(unix.SYS_OPENAT, atCWD, "missing", unix.O_RDONLY)
	fmt.Println("open:", err)
	_, err = d.Call(unix.SYS_WRITE, 1, strings.Repeat("x", maxDeputyData+1), 1)
	fmt.Println("much:", err)
	_, err = d.Call(unix.SYS_CLOSE, 3.5)
	fmt.Println("float:", err)
	must("close", errors.Join(dir.Close(), f.Close(), os.Remove("file"), os.Remove("link"), os.Remove("symlink")))
	fds, err := d.Open("fds", unix.SYS_OPENAT, atCWD, "/proc/self/fd", unix.O_RDONLY)
	must("fds", err)
	_, _ = d.Call(unix.SYS_GETPID) // after the end of the one before
	names, err := fds.Readdirnames(-1)
	fmt.Println("descriptors:", len(names), err)
	_ = fds.Close()
	must("kill", syscall.Kill(d.proc.Pid(), syscall.SIGKILL))
	d.proc.untilEnd()
	_, err = d.Call(unix.SYS_GETPID)
	fmt.Println("after the end:", err)
	must("close", d.Close())
	_, err = d.Call(unix.SYS_GETPID)
	fmt.Println("after Close:", err)
	return 0
}

func TestDeputy(t *testing.T) {
	u := testenv.NewUser(t, true)
	out, err := u.Command(t, "deputize").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, strings.Join([]string{
		"read: open file: permission denied", "text <nil>", "nowhere <nil>", "chown: invalid argument true",
		"open: no such file or directory", "much: argument list too long", "float: invalid argument",
		"descriptors: 2 <nil>",
		"after the end: " + ErrDeputyEnded.Error(), "after Close: " + ErrDeputyEnded.Error(), "",
	}, "\n"), string(out))
}

// TestDeputyEnds kills the program whose deputy it is.
func TestDeputyEnds(t *testing.T) {
	testenv.RequireRoot(t)
	d, err := NewDeputy(t.Context(), testMaps, testMaps)
	require.NoError(t, err)
	pid := d.proc.Pid()
	require.NoError(t, d.sock.Close()) // as the kernel does
	d.proc.untilEnd()
	comm, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "comm"))
	require.NoError(t, err)
	require.Equal(t, "caisson-deputy\n", string(comm))
	require.Error(t, d.Close(), "it was closed")
	_, err = NewDeputy(t.Context(), testMaps, nil)
	require.ErrorContains(t, err, "GIDMappings: there are none")
}

func TestDeputyWithoutRanges(t *testing.T) {
	u := testenv.NewUser(t, false)
	out, err := u.Command(t, "deputize").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "chown invalid argument\nread: <nil>\n")
}
