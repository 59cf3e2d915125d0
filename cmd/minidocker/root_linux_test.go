package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// Who is not root is told so, and what it is needed for; what needs no root works.
func TestNotRoot(t *testing.T) {
	testenv.RequireRoot(t)
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	command := func(args ...string) (string, int) {
		c := exec.Command("/proc/self/fd/3", args...) // nobody may not reach the file by its path
		c.Args[0] = "minidocker"
		c.ExtraFiles = []*os.File{self}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := c.CombinedOutput()
		return string(out), c.ProcessState.ExitCode()
	}
	out, code := command("run", "hello-world")
	require.Equal(t, 125, code, out)
	require.Contains(t, out, "must be run as root, this is user 65534")
	out, code = command("ps")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "must be run as root")
	out, code = command("version")
	require.Equal(t, 0, code, out)
}
