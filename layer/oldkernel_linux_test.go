package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["layer-fallback"] = fallBack }

var (
	// Before Linux 6.8 overlayfs takes no lower folder by itself. A filter sees no string: here no option of a string is taken,
	// of which the older way uses none.
	noLowerByLower = []testenv.Denied{{Call: unix.SYS_FSCONFIG, Arg: 1, Mask: ^uint32(0), Value: setString, Errno: unix.EINVAL}}
	// Before Linux 5.11 overlayfs cannot be mounted in a user namespace.
	noOverlayForUsers = []testenv.Denied{
		{Call: unix.SYS_FSCONFIG, Arg: 1, Mask: ^uint32(0), Value: cmdCreate, Errno: unix.EPERM},
		{Call: unix.SYS_MOUNT, Arg: 3, Mask: unix.MS_PRIVATE, Errno: unix.EPERM}} // but for making mounts private
)

// TestOlderKernels mounts with calls of newer kernels denied: the older ways show the same.
func TestOlderKernels(t *testing.T) {
	testenv.RequireRoot(t)
	ficlone := uint32(unix.FICLONE)
	denied := append(testenv.DeniedCalls(unix.SYS_MOUNT_SETATTR, unix.SYS_COPY_FILE_RANGE),
		testenv.Denied{Call: unix.SYS_IOCTL, Arg: 1, Mask: ^uint32(0), Value: ficlone, Errno: unix.ENOTTY})
	if !testenv.OnOlderKernel(t, append(denied, noLowerByLower...)) {
		return
	}
	appends, err := appendsLower()
	require.NoError(t, err)
	require.False(t, appends)
	s := newStore(t)
	layers := rich(t, s)
	shown := listing(t, mountAt(t, layers, &MountOptions{ReadOnly: true}))
	require.Greater(t, len(shown), 12)
	require.Equal(t, shown[1:], listing(t, mountAt(t, layers, nil))[1:])
	to := t.TempDir()
	require.NoError(t, Copy(t.Context(), layers, to))
	copied := listing(t, to)
	if !slices.ContainsFunc(shown, escaped) { // Linux before 6.7 hides it
		for i := range copied {
			copied[i] = strings.ReplaceAll(copied[i], ` trusted.overlay.opaque="y"`, "")
		}
	}
	require.Equal(t, shown[1:], copied[1:])

	// Owners cannot be shown otherwise, and a copy cannot be made read-only: the error says what is missing.
	maps := []namespace.IDMapping{{HostID: 100000, Size: 65536}}
	_, err = Mount(t.Context(), layers, &MountOptions{UIDMappings: maps, GIDMappings: maps})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "mount_setattr(2) needs Linux 5.12")
	_, err = Mount(t.Context(), layers, &MountOptions{ReadOnly: true, Copy: CopyAlways})
	require.ErrorIs(t, err, unix.ENOSYS)
	require.ErrorContains(t, err, "Linux ≥ 5.12")

	// A writable one is as ever.
	dir := t.TempDir()
	root, err := Mount(t.Context(), layers, &MountOptions{Upper: dir + "/upper", Work: dir + "/work", Copy: CopyAlways})
	require.NoError(t, err)
	require.True(t, Copied(dir+"/work"))
	require.NoError(t, root.Close())
}

// fallBack mounts a layer, for which no overlay can be had, as an ordinary user.
func fallBack(args []string) int {
	fail := func(what string, err error) int { fmt.Println(what, err); return 1 }
	ctx := context.Background()
	s, err := Open("store")
	if err != nil {
		return fail("open", err)
	}
	b, err := os.ReadFile(args[1])
	if err != nil {
		return fail("read", err)
	}
	l, err := s.Add(ctx, bytes.NewReader(b), nil)
	if err != nil {
		return fail("add", err)
	}
	o := &MountOptions{Upper: "upper", Work: "work"}
	if _, err := Mount(ctx, []Layer{l}, o); !errors.Is(err, unix.EPERM) {
		return fail("without a copy", err)
	}
	o.Copy = CopyFallback
	root, err := Mount(ctx, []Layer{l}, o)
	if err != nil {
		return fail("mount", err)
	}
	if err := root.Close(); err != nil || !Copied("work") {
		return fail("close", err)
	}
	st, err := os.Stat("upper/home/app")
	if err != nil || st.Mode().Perm() != 0o700 {
		return fail("stat", err)
	}
	for _, dir := range []string{"upper", "work", "store"} {
		if err := namespace.RemoveAll(dir); err != nil {
			return fail("remove", err)
		}
	}
	return 0
}

// TestOlderKernelsUser: before Linux 5.11 an ordinary user's layers are copied.
func TestOlderKernelsUser(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	u := testenv.NewUser(t, true)
	cmd := u.Command(t, "layer-fallback", userArchives(t)[0])
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, testenv.RunOnOlderKernel(cmd, noOverlayForUsers), out.String())
	left, err := os.ReadDir(u.Home)
	require.NoError(t, err)
	require.Empty(t, left)
}
