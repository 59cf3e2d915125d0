package namespace

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// requireIDMap skips the test where the file system of temporary files cannot show other owners.
func requireIDMap(t testing.TB) {
	t.Helper()
	requireUserNamespaces(t)
	ns, err := NewUserNamespace(testMaps, testMaps)
	require.NoError(t, err)
	defer ns.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, t.TempDir(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(fd)
	if err := idmapMount(fd, int(ns.Fd()), false); errors.Is(err, unix.EINVAL) {
		t.Skip("needs a file system for idmapped mounts: ", err)
	} else {
		require.NoError(t, err)
	}
}

// TestIDMap shows a root and binds with other owners, in a user namespace and without one.
func TestIDMap(t *testing.T) {
	requireIDMap(t)
	dir, data, other := testenv.NewRootfs(t, "inquire"), t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, "seven"), nil, 0o600))
	require.NoError(t, os.Lchown(filepath.Join(data, "seven"), 7, 7))
	l := userLaunch(dir, "inquire", "owner", "/bin", "owner", "/home/app", "make", "/made", "owner", "/data/seven",
		"make", "/data/made", "owner", "/other", "make", "/other/made", "owner", "/plain")
	l.RootIDMap = &IDMap{}
	fixed := []IDMapping{{0, 100005, 1}}
	l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: data, Target: "/data", IDMap: &IDMap{}, Recursive: true},
		Mount{Type: "bind", Source: other, Target: "/other", IDMap: &IDMap{UIDs: fixed, GIDs: fixed}},
		Mount{Type: "bind", Source: other, Target: "/plain"})
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Equal(t, "/bin 0 0\n/home/app 1000 1000\n/made ok\n/data/seven 7 7\n/data/made ok\n"+
		"/other 5 5\n/other/made open /other/made: value too large for defined data type\n/plain 65534 65534\n", out)
	owner := func(name string) [2]uint32 {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(name, &st))
		return [2]uint32{st.Uid, st.Gid}
	}
	require.Equal(t, [2]uint32{0, 0}, owner(filepath.Join(dir, "made")), "it is written with the owner that is on disk")

	// The same root again, in another range and in none.
	l = userLaunch(dir, "inquire", "owner", "/made")
	l.UIDMappings = []IDMapping{{0, 300000, 1000}}
	l.GIDMappings, l.RootIDMap = l.UIDMappings, &IDMap{}
	out, s = output(t, l)
	require.Zero(t, s.Code, out)
	require.Equal(t, "/made 0 0\n", out)
	l = defaultLaunch(Dir(dir), "inquire", "owner", "/made")
	l.RootIDMap = &IDMap{UIDs: []IDMapping{{0, 77, 5}}, GIDs: []IDMapping{{0, 88, 5}}}
	out, s = output(t, l)
	require.Zero(t, s.Code, out)
	require.Equal(t, "/made 77 88\n", out)
}

// TestIDMapUnsupported maps a file system that cannot be.
func TestIDMapUnsupported(t *testing.T) {
	requireUserNamespaces(t)
	l := userLaunch(testenv.NewRootfs(t, "inquire"), "inquire")
	l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: "/proc/sys", Target: "/tmp", IDMap: &IDMap{}})
	before := descriptors(t)
	_, err := l.Start(t.Context())
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorContains(t, err, "mount_setattr /proc/sys: mount 3 at /tmp: the file system cannot show other owners")
	require.Equal(t, before, descriptors(t))

	for _, own := range []IDMap{{IfPossible: true}, {IfPossible: true, UIDs: testMaps, GIDs: testMaps}} {
		l.Mounts[len(l.Mounts)-1].IDMap = &own
		run(t, l)
	}
}

func TestNewUserNamespace(t *testing.T) {
	requireUserNamespaces(t)
	before := descriptors(t)
	ns, err := NewUserNamespace(testMaps, testMaps)
	require.NoError(t, err)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "inquire")), "inquire", "maps")
	l.Namespaces.User = Namespace{Join: ns}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Contains(t, out, "uid_map 0 100000 65536\n")
	require.NoError(t, ns.Close())
	_, err = NewUserNamespace([]IDMapping{{0, 1, 0}}, testMaps)
	require.ErrorContains(t, err, "check UIDs: mapping 0, 0 1 0, is of no id")
	require.Equal(t, before, descriptors(t))
}
