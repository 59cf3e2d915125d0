package namespace

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A start that cannot open a single descriptor closes none of the program's own.
func TestNoDescriptorLeft(t *testing.T) {
	testenv.RequireRoot(t)
	maps := []IDMapping{{Size: 1}}
	ns, err := NewUserNamespace(maps, maps)
	require.NoError(t, err)
	defer ns.Close()
	var limit unix.Rlimit
	set := func(to *unix.Rlimit) {
		t.Helper() // not by unix.Setrlimit: programs that are executed after that would have another limit
		_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(to)), 0, 0, 0)
		require.Zero(t, errno)
	}
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	before := descriptors(t)
	root := Dir(t.TempDir())
	for name, start := range map[string]func() error{
		"process": func() error { _, err := defaultLaunch(root, "true").Start(t.Context()); return err },
		"deputy":  func() error { _, err := NewDeputy(t.Context(), maps, maps); return err },
		"maps":    func() error { _, _, err := enterForMaps(ns); return err },
		"user":    func() error { _, err := NewUserNamespace(maps, maps); return err },
	} {
		set(&unix.Rlimit{Max: limit.Max})
		err := start()
		set(&limit)
		require.ErrorIs(t, err, unix.EMFILE, name)
		require.Equal(t, before, descriptors(t), name)
	}
}
