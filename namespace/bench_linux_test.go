package namespace

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// trueRootfs is a root whose /bin/true is an ELF of one system call.
func trueRootfs(t testing.TB) string {
	dir := t.TempDir()
	for _, d := range []string{"bin", "proc", "dev", "sys", "tmp", "etc"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	p := &Program{}
	p.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
	image, err := stubImage(p)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin/true"), image, 0o755))
	return dir
}

func BenchmarkStart(b *testing.B) {
	l := defaultLaunch(Dir(trueRootfs(b)), "/bin/true")
	for b.Loop() {
		run(b, l)
	}
}

// BenchmarkStartUser starts in a new user namespace, from a small host program and from one with a heap of 1 GiB: Go forks
// plainly for a user namespace, which would cost some 30 ms there. The second prints its ratio to the first; the limit is 1.3.
func BenchmarkStartUser(b *testing.B) {
	dir := trueRootfs(b)
	giveTo(b, dir, 100000)
	l := userLaunch(dir, "/bin/true")
	var small float64
	for _, heap := range []int{10 << 20, 1 << 30} {
		b.Run(fmt.Sprintf("heap=%dMiB", heap>>20), func(b *testing.B) {
			ballast := make([]byte, heap)
			for i := 0; i < len(ballast); i += os.Getpagesize() {
				ballast[i] = 1
			}
			run(b, l)
			for b.Loop() {
				run(b, l)
			}
			per := float64(b.Elapsed()) / float64(b.N)
			if small == 0 {
				small = per
			}
			b.ReportMetric(per/small, "×small")
			runtime.KeepAlive(ballast)
		})
	}
}

func BenchmarkProgram(b *testing.B) {
	l := defaultLaunch(Dir("/"), "/bin/true")
	for b.Loop() {
		p := programPool.Get().(*Program)
		require.NoError(b, l.compile(p))
		_, err := stubImage(p)
		require.NoError(b, err)
		p.reset()
		programPool.Put(p)
	}
}

// BenchmarkFloor is what the kernel takes for the namespaces and the execution, with nothing done in them.
func BenchmarkFloor(b *testing.B) {
	path := filepath.Join(trueRootfs(b), "bin/true")
	for b.Loop() {
		cmd := exec.Command(path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS |
			unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP}
		require.NoError(b, cmd.Run())
	}
}

func BenchmarkOSExec(b *testing.B) {
	path := filepath.Join(trueRootfs(b), "bin/true")
	for b.Loop() {
		require.NoError(b, exec.Command(path).Run())
	}
}

func run(t testing.TB, l *Launch) {
	p, err := l.Start(context.Background())
	require.NoError(t, err)
	s, err := p.Wait(context.Background())
	require.NoError(t, err)
	require.Zero(t, s.Code)
	require.NoError(t, p.Close())
}
