package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/vm/job"
	"github.com/caisson-engine/caisson/volume"
)

// serveNFS has the kernel serve a folder as the root of NFS 4 at port 20490 of every address.
func serveNFS(t *testing.T, dir string) {
	t.Helper()
	testenv.RequireRoot(t)
	modules, err := filepath.Glob(job.OnDemand + "/*.ko")
	require.NoError(t, err)
	if !testenv.VM() || len(modules) == 0 {
		t.Skip("needs a kernel whose server of NFS it can have, as internal/vm has")
	}
	for _, path := range modules { // sorted
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if err := unix.InitModule(b, ""); !errors.Is(err, unix.EEXIST) {
			require.NoError(t, err, path)
		}
	}
	const nfsd = "/proc/fs/nfsd"
	require.NoError(t, unix.Mount("nfsd", nfsd, "nfsd", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(nfsd, 0)) })
	answerNFS(t, dir)
	write := func(path, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0), "%s: %s", path, text)
	}
	require.NoError(t, os.MkdirAll("/var/lib/nfs/v4recovery", 0o700)) // without it the server waits for clients of an earlier start
	write(nfsd+"/versions", "-3 +4")
	write(nfsd+"/portlist", "tcp 20490")
	t.Cleanup(func() { write(nfsd+"/threads", "0") })
	write(nfsd+"/threads", "2")
	write(nfsd+"/v4_end_grace", "Y")
}

// answerNFS answers, as rpc.mountd does, what the server asks about its clients and exports: it waits for ever for an answer.
func answerNFS(t *testing.T, dir string) {
	t.Helper()
	const never = " 2147483647" // seconds, of the answer's end
	answers := map[string]func(question string) string{
		"auth.unix.ip":  func(string) string { return " us" },
		"auth.unix.gid": func(string) string { return " 0" },
		"nfsd.fh": func(question string) string {
			if question != `us 1 \x00000000` {
				return ""
			}
			return " " + dir
		},
		"nfsd.export": func(question string) string {
			if question != "us "+dir {
				return ""
			}
			return " 9234 65534 65534 0" // any port, asynchronous, no look above, with a number as its name
		},
	}
	var fds []unix.PollFd
	var files []func(question string) string
	for name, answer := range answers {
		fd, err := unix.Open("/proc/net/rpc/"+name+"/channel", unix.O_RDWR|unix.O_CLOEXEC, 0)
		require.NoError(t, err, name)
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		files = append(files, answer)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-done
		for _, fd := range fds {
			require.NoError(t, unix.Close(int(fd.Fd)))
		}
	})
	go func() {
		defer close(done)
		b := make([]byte, 8192)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := unix.Poll(fds, 20); err != nil && !errors.Is(err, unix.EINTR) {
				t.Errorf("poll: %v", err)
				return
			}
			for i := range fds {
				if fds[i].Revents&unix.POLLIN == 0 {
					continue
				}
				n, err := unix.Read(int(fds[i].Fd), b) // a whole question
				if err != nil || n == 0 {
					continue
				}
				question := strings.TrimSuffix(string(b[:n]), "\n")
				_, err = unix.Write(int(fds[i].Fd), []byte(question+never+files[i](question)+"\n"))
				t.Logf("asked: %q (%v)", question, err)
			}
		}
	}()
}

// TestVolumeOfNFS: a volume of type nfs has what a server has, for all containers that use it, and goes with the last of them. Docker's way of
// writing it is taken.
func TestVolumeOfNFS(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	serveNFS(t, dir)
	e := newEngine(t)
	image := pullBusybox(t, e)
	o, err := VolumeOptions("local", nil, []string{"type=nfs", "device=:/", "o=addr=localhost,port=20490,nfsvers=4.2,noatime,soft"})
	require.NoError(t, err)
	name, err := e.CreateVolume("shared", o)
	require.NoError(t, err)
	in := func(script string, readOnly bool) Config {
		return Config{Image: image, Network: "none", Command: []string{"sh", "-c", script},
			Mounts: []Mount{{Type: "volume", Source: name, Target: "/data", ReadOnly: readOnly}}}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "theirs"), []byte("of the server\n"), 0o644))
	cfg := in("", false)
	first := detached(t, e, &cfg, "cat /data/theirs >/data/file; exec sleep 600")
	out := outputOf(t, e, in("until [ -s /data/file ]; do :; done; cat /data/file; grep /data /proc/mounts; touch /data/more 2>&1; true", true))
	require.Contains(t, out, "of the server\n")
	require.Regexp(t, `/data nfs4 ro,.*noatime,vers=4.2,.*,port=20490,.*addr=127.0.0.1`, out)
	require.Contains(t, out, "Read-only file system")
	there, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	require.Equal(t, "of the server\n", string(there))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), " nfs4 ")
	require.ErrorIs(t, e.Volumes().Remove(name), volume.ErrInUse)

	require.NoError(t, e.Remove(t.Context(), first.ID, &RemoveOptions{Force: true}))
	require.Eventually(t, func() bool {
		b, err := os.ReadFile("/proc/fs/nfsfs/servers")
		return err == nil && !strings.Contains(string(b), "7f000001")
	}, time.Minute, 10*time.Millisecond, "the client lets go of the server")
	require.NoError(t, e.RemoveVolume(t.Context(), name))
	require.FileExists(t, filepath.Join(dir, "file"))
}
