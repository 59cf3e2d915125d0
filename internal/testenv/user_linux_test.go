package testenv

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// ending is a test that ends when it is told to.
type ending struct {
	testing.TB
	cleanups []func()
}

func (e *ending) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }

func (e *ending) end() {
	for _, f := range e.cleanups {
		f()
	}
}

// TestOpenTun: the device is everybody's until the last has ended, whoever was first, and then what it was.
func TestOpenTun(t *testing.T) {
	RequireRoot(t)
	mode := func() os.FileMode {
		info, err := os.Stat("/dev/net/tun")
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	before := mode()
	first, second := &ending{TB: t}, &ending{TB: t}
	OpenTun(first)
	OpenTun(second)
	first.end()
	require.EqualValues(t, 0o666, mode())
	second.end()
	lock := func(name string, how int) (*os.File, bool) {
		f, err := os.Open(filepath.Join(os.TempDir(), "..", name))
		require.NoError(t, err)
		return f, syscall.Flock(int(f.Fd()), how) == nil
	}
	guard, _ := lock("caisson-test-tun-guard.lock", syscall.LOCK_EX)
	defer guard.Close()
	used, alone := lock("caisson-test-tun.lock", syscall.LOCK_EX|syscall.LOCK_NB)
	defer used.Close()
	if alone && before != 0o666 { // else others test with it, or did when this began
		require.Equal(t, before, mode())
	}
}
