package layer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// TestMountOwners shows what belongs to 0 on disk as a user namespace's root's, and writes it so.
func TestMountOwners(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 19)
	s := newStore(t)
	seven := file("seven", "1")
	seven.Uid, seven.Gid = 7, 8
	layers := newLayers(t, s, []entry{file("zero", "1"), seven}, []entry{file("top", "2")})
	dir := filepath.Join(t.TempDir(), "a,b:c")
	require.NoError(t, os.Mkdir(dir, 0o755))
	maps := []namespace.IDMapping{{HostID: 100000, Size: 65536}}
	o := &MountOptions{UIDMappings: maps, GIDMappings: maps, Upper: filepath.Join(dir, "up,per"), Work: filepath.Join(dir, "work")}
	o.Target = t.TempDir()
	root, err := Mount(t.Context(), layers, o)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer func() { require.NoError(t, root.Close()) }()
	owner := func(name string) [2]uint32 {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(name, &st))
		return [2]uint32{st.Uid, st.Gid}
	}
	require.Equal(t, [2]uint32{100000, 100000}, owner(o.Target))
	require.Equal(t, [2]uint32{100000, 100000}, owner(filepath.Join(o.Target, "zero")))
	require.Equal(t, [2]uint32{100007, 100008}, owner(filepath.Join(o.Target, "seven")))
	require.NoError(t, os.Chown(filepath.Join(o.Target, "seven"), 100009, 100000))
	require.Equal(t, [2]uint32{9, 0}, owner(filepath.Join(o.Upper, "seven")))
	require.Equal(t, [2]uint32{7, 8}, owner(filepath.Join(layers[0].Dir, "seven")))

	// Two folders, and maps that cannot be.
	bad := *o
	bad.Upper, bad.Target = filepath.Join(t.TempDir(), "upper"), ""
	_, err = Mount(t.Context(), layers, &bad)
	require.ErrorContains(t, err, "Upper and Work must lie in one folder")
	bad.UIDMappings = []namespace.IDMapping{{}}
	_, err = Mount(t.Context(), layers, &bad)
	require.ErrorContains(t, err, "mount layers: start container: check UIDs: mapping 0, 0 0 0, is of no id")
	require.NoFileExists(t, bad.Upper)
}
