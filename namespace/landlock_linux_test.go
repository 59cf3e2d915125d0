package namespace

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// try is a helper program: each argument is something to try, "verb:object"; it prints the argument and the error, or ok.
func try(args []string) int {
	for _, a := range args[1:] {
		verb, object, _ := strings.Cut(a, ":")
		var err error
		switch verb {
		case "read":
			_, err = os.ReadFile(object)
		case "list":
			_, err = os.ReadDir(object)
		case "write":
			err = os.WriteFile(object, []byte("x"), 0o644)
		case "truncate":
			err = os.Truncate(object, 0)
		case "mkdir":
			err = os.Mkdir(object, 0o755)
		case "exec":
			err = exec.Command(object).Run()
		case "ioctl":
			var fd int
			if fd, err = unix.Open(object, unix.O_RDWR|unix.O_NOCTTY, 0); err == nil {
				_, err = unix.IoctlGetTermios(fd, unix.TCGETS)
			}
		case "bind", "connect":
			port, _ := strconv.Atoi(object)
			fd, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			addr := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
			if verb == "bind" {
				err = unix.Bind(fd, addr)
			} else {
				err = unix.Connect(fd, addr)
			}
			_ = unix.Close(fd)
		case "abstract":
			_, err = net.Dial("unix", "@"+object)
		case "size":
			if b, e := os.ReadFile(object); e == nil {
				println(a, len(b))
				continue
			} else {
				err = e
			}
		case "stat":
			var st unix.Stat_t
			if err = unix.Lstat(object, &st); err == nil {
				println(a, strconv.FormatUint(uint64(st.Mode), 8), st.Uid, st.Gid)
				continue
			}
		case "xattr":
			b := make([]byte, 100)
			var n int
			if n, err = unix.Lgetxattr(object, "security.capability", b); err == nil {
				println(a, n)
				continue
			}
		case "kill":
			pid, _ := strconv.Atoi(object)
			err = syscall.Kill(pid, 0)
		}
		text := "ok"
		if err != nil {
			text = err.Error()
			var errno syscall.Errno
			if errors.As(err, &errno) {
				text = unix.ErrnoName(errno)
			}
		}
		println(a, text)
	}
	return 0
}

func requireLandlock(t *testing.T, abi int) {
	testenv.RequireRoot(t)
	if have := kernel.LandlockABI(); have < abi {
		t.Skipf("needs Landlock ABI %d, this kernel has %d", abi, have)
	}
}

func tries(t *testing.T, l *Launch, want ...string) {
	t.Helper()
	l.Args = []string{"try"}
	for _, w := range want {
		what, _, _ := strings.Cut(w, " ")
		l.Args = append(l.Args, what)
	}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Equal(t, strings.Join(want, "\n")+"\n", out)
}

// TestLandlockFiles restricts root with Docker's capabilities, without and with no_new_privs.
func TestLandlockFiles(t *testing.T) {
	requireLandlock(t, 1)
	dir := testenv.NewRootfs(t, "try")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data/below"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data/file"), nil, 0o644))
	require.NoError(t, os.Symlink("/data", filepath.Join(dir, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "one"), nil, 0o644))
	for _, privileges := range []bool{false, true} {
		for _, user := range []User{{}, {UID: 1000, GID: 1000}} {
			l := defaultLaunch(Dir(dir), "try")
			l.NewPrivileges, l.User = privileges, user
			if user.UID != 0 {
				l.Capabilities.Effective, l.Capabilities.Permitted = 0, 0
			}
			tries(t, l, "read:/etc/passwd ok", "list:/data ok")
			l.Landlock = &Landlock{BestEffort: true, Unscoped: true, AnyPort: true, Files: []LandlockFiles{
				{Path: "/bin", Access: LandlockRead | LandlockExecute},
				{Path: "/link", Access: LandlockRead}, // leads to /data
				{Path: "/one", Access: LandlockRead | LandlockWrite},
				{Path: "/dev/null", Access: LandlockRead | LandlockWrite | LandlockIoctl},
				{Path: "/dev/shm", Access: LandlockWrite},
				{Path: "/nothing/here", Access: LandlockRead, Optional: true},
			}}
			tries(t, l, "read:/etc/passwd EACCES", "list:/ EACCES", "read:/data/file ok", "list:/data ok", "mkdir:/data/new EACCES",
				"write:/data/file EACCES", "exec:/bin/try ok", "read:/one ok", "write:/dev/shm/new ok", "list:/dev/shm EACCES",
				"mkdir:/dev/shm/folder ok", "read:/proc/self/status EACCES", "write:/dev/null ok")
		}
	}
	l := defaultLaunch(Dir(dir), "try")
	l.Landlock = &Landlock{BestEffort: true, Files: []LandlockFiles{{Path: "/data", Access: LandlockRead}}}
	_, err := l.Start(t.Context())
	var start *StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "execve", start.Step)
	require.ErrorIs(t, err, unix.EACCES)
	l.Landlock.Files[0].Path = "/nothing"
	_, err = l.Start(t.Context())
	require.ErrorAs(t, err, &start)
	require.Equal(t, "/nothing", start.Path)
	require.ErrorIs(t, err, unix.ENOENT)
}

func TestLandlockDevices(t *testing.T) {
	requireLandlock(t, 5)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "try")), "try")
	bin := LandlockFiles{Path: "/bin", Access: LandlockRead | LandlockExecute}
	l.Landlock = &Landlock{Unscoped: true, AnyPort: true, Files: []LandlockFiles{bin,
		{Path: "/dev/zero", Access: LandlockRead | LandlockWrite}}}
	tries(t, l, "ioctl:/dev/zero EACCES")
	l.Landlock.Files[1].Access |= LandlockIoctl
	tries(t, l, "ioctl:/dev/zero ENOTTY")
}

func TestLandlockTruncate(t *testing.T) {
	requireLandlock(t, 3)
	dir := testenv.NewRootfs(t, "try")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	l := defaultLaunch(Dir(dir), "try")
	l.Landlock = &Landlock{BestEffort: true, Files: []LandlockFiles{
		{Path: "/bin", Access: LandlockRead | LandlockExecute}, {Path: "/file", Access: LandlockRead}}}
	tries(t, l, "truncate:/file EACCES")
}

func TestLandlockPorts(t *testing.T) {
	requireLandlock(t, 4)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "try")), "try")
	l.Landlock = &Landlock{AnyFile: true, Unscoped: true, Bind: []uint16{8080, 8080, 0}, Connect: []uint16{443}}
	tries(t, l, "bind:8080 ok", "bind:0 ok", "bind:8081 EACCES", "connect:443 ECONNREFUSED", "connect:444 EACCES", "list:/ ok")
}

// TestLandlockScope: the network, in which abstract sockets are, and the processes are the host's.
func TestLandlockScope(t *testing.T) {
	requireLandlock(t, 6)
	s, err := net.Listen("unix", "@caisson-landlock-test")
	require.NoError(t, err)
	defer s.Close()
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "try")), "try")
	l.Namespaces.Network.Host, l.Namespaces.PID.Host = true, true
	kill := "kill:" + strconv.Itoa(os.Getpid())
	tries(t, l, "abstract:caisson-landlock-test ok", kill+" ok")
	l.Landlock = &Landlock{AnyFile: true, AnyPort: true}
	tries(t, l, "abstract:caisson-landlock-test EPERM", kill+" EPERM")
}

// TestLandlockABI: what a kernel cannot restrict is refused, or left out, as asked.
func TestLandlockABI(t *testing.T) {
	for abi := range 7 {
		fs, ports, scopes, size, err := (&Landlock{BestEffort: true}).handled(abi)
		require.NoError(t, err)
		require.Equal(t, []bool{abi >= 1, abi >= 4, abi >= 6}, []bool{fs != 0, ports != 0, scopes != 0}, abi)
		require.Equal(t, []int{0, 8, 8, 8, 16, 16, 24}[abi], size)
		_, _, _, _, err = (&Landlock{}).handled(abi)
		if abi == 6 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, errors.ErrUnsupported, abi)
		}
	}
	_, _, _, _, err := (&Landlock{AnyFile: true, Unscoped: true}).handled(3)
	require.ErrorContains(t, err, "restricting TCP ports needs Linux 6.7 (Landlock ABI 4, this kernel has 3; BestEffort does without)")
	fs, _, _, _, err := (&Landlock{AnyPort: true, Unscoped: true}).handled(5)
	require.NoError(t, err)
	require.Equal(t, uint64(0xffff), fs)
	fs, _, _, _, err = (&Landlock{BestEffort: true}).handled(2)
	require.NoError(t, err)
	require.Equal(t, uint64(0x3fff), fs)
}
