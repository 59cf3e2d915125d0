package container_test

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// newContainer returns a container of a new root with the programs that the tests play.
func newContainer(t testing.TB, args ...string) *container.Container {
	t.Helper()
	testenv.RequireRoot(t)
	var names []string
	for name := range programs {
		names = append(names, name)
	}
	root := testenv.NewRootfs(t, names...)
	c := container.New(namespace.Dir(root), args...)
	c.Cgroup = testenv.CgroupName(t)
	return c
}

// warmUp runs a container in a PID namespace that it joins, which makes what is made once.
func warmUp() error {
	dir, err := os.MkdirTemp("", "warm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := container.New(namespace.Dir(dir), "/nothing")
	if c.Namespaces.PID.Join, err = os.Open("/proc/self/ns/pid"); err != nil {
		return err
	}
	defer c.Namespaces.PID.Join.Close()
	_ = c.Run(context.Background())
	k := kept(dir, dir, "caisson-warm", "/nothing") // makes the keepers' program
	k.NoCgroup, k.Memory, k.Cgroup = true, 0, ""
	_ = k.Run(context.Background())
	return nil
}

func winsize() [2]uint16 {
	var size namespace.WinSize
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	return [2]uint16{size.Rows, size.Cols}
}

func TestOutput(t *testing.T) {
	c := newContainer(t, "echo", "hello", "world")
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hello world\n", string(out))
	require.True(t, c.State.Success())
	require.Positive(t, c.State.MaxRSS)
	require.Positive(t, c.State.Cgroup.CPU.Usage)
	require.Positive(t, c.State.Cgroup.Memory.Peak)
}

func itoa(n int) string { return strconv.Itoa(n) }
