package testenv_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// systemLeaks are what TestMain must find on Linux.
func systemLeaks() map[string]func(*testing.T) {
	all := map[string]func(*testing.T){
		"leak: process": func(t *testing.T) {
			require.NoError(t, exec.Command("sleep", "60").Start())
		},
	}
	if os.Geteuid() == 0 {
		all["leak: mount"] = func(t *testing.T) {
			dir := filepath.Join(os.TempDir(), "mounted")
			require.NoError(t, os.Mkdir(dir, 0o755))
			require.NoError(t, unix.Mount("leak", dir, "tmpfs", 0, ""))
		}
	}
	return all
}

func chroot(cmd *exec.Cmd, root string) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	cmd.Dir = "/"
}

func TestReapOrphans(t *testing.T) {
	t.Run("orphan", func(t *testing.T) {
		testenv.ReapOrphans(t)
		// The shell ends at once; its child becomes ours, and ends as well.
		require.NoError(t, exec.Command("sh", "-c", "sleep 0.05 & exit 0").Run())
	})
}
