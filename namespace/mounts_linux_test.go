package namespace

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

func TestMounts(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "describe", "probe")
	data := t.TempDir()
	file := filepath.Join(data, "file")
	require.NoError(t, os.WriteFile(file, []byte("content"), 0o640))
	l := defaultLaunch(Dir(dir), "describe")
	l.ReadOnlyRoot = true
	l.Mounts = append(l.Mounts,
		Mount{Type: "tmpfs", Target: "/view", Flags: ReadOnly | NoSuid, Data: "mode=755"},
		Mount{Type: "tmpfs", Target: "/view/deep/below", Data: "size=1m"},
		Mount{Type: "bind", Source: data, Target: "/data", Flags: NoExec | NoDev},
		Mount{Type: "bind", Source: file, Target: "/view/file", Flags: ReadOnly},
		Mount{Type: "bind", Source: data, Target: "/slave", Propagation: Slave, Recursive: true},
	)
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	for _, want := range []string{
		" / ro,", " /view ro,nosuid,relatime", " /view/deep/below rw,relatime", " /data rw,nodev,noexec,relatime",
		" /view/file ro,relatime", " /slave rw,relatime",
	} {
		require.Contains(t, out, want)
	}
	l.Args = []string{"probe"}
	out, s = output(t, l)
	require.Zero(t, s.Code, out)
}

// probe is a helper program that tries to write where it must not and where it may.
func probe([]string) int {
	for _, f := range []string{"/new", "/view/new", "/view/file", "/proc/sys/kernel/hostname", "/sys/new"} {
		if err := os.WriteFile(f, []byte("x"), 0o644); err == nil {
			println("could write", f)
			return 1
		}
	}
	for _, f := range []string{"/view/deep/below/new", "/data/new", "/dev/shm/new", "/dev/null"} {
		if err := os.WriteFile(f, []byte("x"), 0o644); err != nil {
			println(err.Error())
			return 1
		}
	}
	if b, err := os.ReadFile("/view/file"); err != nil || string(b) != "content" {
		println("view/file:", string(b))
		return 1
	}
	if b, err := os.ReadFile("/proc/interrupts"); err != nil || len(b) != 0 {
		println("/proc/interrupts is not masked")
		return 1
	}
	return 0
}
