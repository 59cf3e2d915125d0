package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server is a daemon that the test started.
type server struct {
	cmd *exec.Cmd
	log string
}

// newServer starts a daemon and waits until ready succeeds. It is stopped when the test ends, and its log shown if that failed.
func newServer(t *testing.T, dir string, ready client, args ...string) *server {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, filepath.Base(args[0])+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	require.NoError(t, err)
	defer log.Close()
	s := &server{exec.Command(args[0], args[1:]...), log.Name()}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "TMPDIR="+dir) // for the stacks that containerd writes when it is slow to answer
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		s.stop(t, syscall.SIGTERM)
		if t.Failed() {
			b, _ := os.ReadFile(s.log)
			for line := range strings.Lines(string(b)) {
				if strings.Contains(line, "level=err") || strings.Contains(line, "level=fatal") {
					t.Logf("%s: %s", args[0], line)
				}
			}
		}
	})
	eventually(t, func() bool { return ready.do(t, "").code == 0 }, "%v", ready)
	return s
}

// stop sends the daemon a signal and waits for its end. Once is enough.
func (s *server) stop(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	require.NoError(t, s.cmd.Process.Signal(signal))
	timer := time.AfterFunc(30*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	_ = s.cmd.Wait()
}
