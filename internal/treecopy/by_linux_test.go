package treecopy_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/treecopy"
	"github.com/caisson-engine/caisson/namespace"
)

// newDeputy starts one in a user namespace that has the first thousand ids of the host.
func newDeputy(t *testing.T) *namespace.Deputy {
	t.Helper()
	testenv.RequireRoot(t)
	ids := []namespace.IDMapping{{Size: 1000}}
	d, err := namespace.NewDeputy(t.Context(), ids, ids)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// by opens folders as trees of the deputy.
func by(d *namespace.Deputy) func(*testing.T, string) treecopy.Tree {
	return func(t *testing.T, dir string) treecopy.Tree {
		t.Helper()
		f, err := os.Open(dir)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		tree, err := treecopy.By(d, f)
		require.NoError(t, err)
		return tree
	}
}

// trees are the ways to open one.
func trees(t *testing.T) map[string]func(*testing.T, string) treecopy.Tree {
	all := map[string]func(*testing.T, string) treecopy.Tree{"root": openRoot}
	if os.Geteuid() == 0 {
		all["deputy"] = by(newDeputy(t))
	}
	return all
}

// What a deputy makes belongs to the user that it makes it for, or to whom the stream says; an id that it has not is an error.
func TestDeputyOwners(t *testing.T) {
	d := newDeputy(t)
	require.NoError(t, d.SetOwner(7, 9))
	err := d.SetOwner(5000, 9)
	require.ErrorIs(t, err, syscall.EINVAL)
	require.ErrorContains(t, err, "setfsuid 5000: invalid argument: the user namespace's map has 0 to ")
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	require.NoError(t, os.Chown(filepath.Join(dir, "closed"), 3, 3))
	root := by(d)(t, dir)
	stream := func(id int) *bytes.Buffer {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []tar.Header{
			{Name: "closed/made/f", Typeflag: tar.TypeReg, Mode: 0o6750}, {Name: "closed/made/l", Typeflag: tar.TypeSymlink, Linkname: "f"},
			{Name: "closed/made/h", Typeflag: tar.TypeLink, Linkname: "closed/made/f"}, {Name: "closed/d/", Typeflag: tar.TypeDir, Mode: 0o1700},
		} {
			h.Uid, h.Gid = id, id
			require.NoError(t, w.WriteHeader(&h))
		}
		require.NoError(t, w.Close())
		return &b
	}
	stat := func(name string) (st syscall.Stat_t) {
		require.NoError(t, syscall.Lstat(filepath.Join(dir, "closed", name), &st))
		return st
	}
	require.NoError(t, treecopy.Extract(t.Context(), root, stream(5), nil))
	for _, name := range []string{"made", "made/f", "made/l", "d"} {
		st := stat(name)
		require.Equal(t, [2]uint32{7, 9}, [2]uint32{st.Uid, st.Gid}, name)
	}
	require.EqualValues(t, syscall.S_IFREG|0o6750, stat("made/f").Mode)
	require.EqualValues(t, syscall.S_IFDIR|0o1700, stat("d").Mode)
	require.EqualValues(t, 2, stat("made/f").Nlink)

	require.NoError(t, treecopy.Extract(t.Context(), root, stream(5), &treecopy.Options{Owners: true}))
	for _, name := range []string{"made/f", "made/l", "d"} {
		require.EqualValues(t, 5, stat(name).Uid, name)
	}
	require.EqualValues(t, syscall.S_IFREG|0o6750, stat("made/f").Mode, "the owner comes before the mode")
	var b bytes.Buffer
	require.NoError(t, treecopy.Write(t.Context(), &b, root, "closed", "closed", nil))
	var names []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	require.Equal(t, []string{"closed/", "closed/d/", "closed/made/", "closed/made/f", "closed/made/h", "closed/made/l"}, names)
	require.Error(t, treecopy.Extract(t.Context(), root, stream(5000), &treecopy.Options{Owners: true}))
}
