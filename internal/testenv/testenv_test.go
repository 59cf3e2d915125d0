package testenv_test

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// leaks are what TestMain must find on every system, by the word in its report.
var leaks = map[string]func(t *testing.T){
	"nothing": func(*testing.T) {},
	"leak: goroutine": func(*testing.T) {
		go func() { select {} }()
	},
	"leak: file": func(t *testing.T) {
		require.NoError(t, os.WriteFile(filepath.Join(os.TempDir(), "forgotten"), nil, 0o600))
	},
	"leak: descriptor": func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		f, err := l.(*net.TCPListener).File()
		require.NoError(t, err)
		runtime.SetFinalizer(f, nil)
		runtime.KeepAlive(f)
		forgotten = append(forgotten, f)
		require.NoError(t, l.Close())
	},
}

var forgotten []*os.File

// TestLeak is run by TestMainFindsLeaks in a process of its own.
func TestLeak(t *testing.T) {
	name, found := os.LookupEnv("TESTENV_LEAK")
	if !found {
		t.Skip("a part of TestMainFindsLeaks")
	}
	if leak, ok := leaks[name]; ok {
		leak(t)
		return
	}
	systemLeaks()[name](t)
}

func TestMainFindsLeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(leaks)), maps.Keys(systemLeaks()))
	type result struct {
		out []byte
		err error
	}
	results := make(map[string]chan result)
	for _, name := range names { // all at once: each waits for what it leaked to vanish
		done := make(chan result, 1)
		results[name] = done
		go func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestLeak$")
			cmd.Env = append(os.Environ(), "TESTENV_LEAK="+name)
			out, err := cmd.CombinedOutput()
			done <- result{out, err}
		}()
	}
	for _, name := range names {
		r := <-results[name]
		t.Run(name, func(t *testing.T) {
			if name == "nothing" {
				require.NoError(t, r.err, string(r.out))
				require.NotContains(t, string(r.out), "leak")
				return
			}
			var exit *exec.ExitError
			require.ErrorAs(t, r.err, &exit, string(r.out))
			require.Contains(t, string(r.out), name)
			require.Contains(t, string(r.out), "FAIL: ")
		})
	}
}

func TestRootfsRunsPrograms(t *testing.T) {
	testenv.RequireRoot(t)
	root := testenv.NewRootfs(t, "echo")
	cmd := exec.Command("/bin/echo", "one", "two")
	chroot(cmd, root)
	out, err := cmd.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, exit.ExitCode(), string(exit.Stderr))
	require.Equal(t, "one two\n", string(out))
}

func TestRootfsIsRemoved(t *testing.T) {
	var root string
	t.Run("inner", func(t *testing.T) {
		root = testenv.NewRootfs(t)
		require.FileExists(t, filepath.Join(root, "etc/passwd"))
	})
	require.NoDirExists(t, root)
}

func TestLazyStateIsNoLeak(t *testing.T) {
	require.NotNil(t, kept)
	time.Sleep(time.Millisecond)
}

func TestSkips(t *testing.T) {
	t.Run("version", func(t *testing.T) {
		testenv.RequireKernel(t, 99, 0)
		t.Error("ran on Linux 99")
	})
}
