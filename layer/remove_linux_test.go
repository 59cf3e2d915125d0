package layer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestUnlink: an unlinked layer is not in the store, and its files are its owner's to delete, not another Open's.
func TestUnlink(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	l := newLayers(t, s, []entry{file("a", "x")})[0]
	u, err := s.Unlink(t.Context(), l.DiffID)
	require.NoError(t, err)
	_, err = s.Get(l.DiffID)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.Unlink(t.Context(), l.DiffID)
	require.ErrorIs(t, err, ErrNotFound)
	again := newLayers(t, s, []entry{file("a", "x")})[0]
	require.Equal(t, l.DiffID, again.DiffID)

	_, err = Open(s.dir)
	require.NoError(t, err)
	found, err := filepath.Glob(filepath.Join(s.dir, tempName, "*", "removed", contentName, "a"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, u.Delete())
	require.NoError(t, u.Delete())
	requireNoTemp(t, s)
	require.FileExists(t, filepath.Join(again.Dir, "a"))
	_, err = os.Stat(found[0])
	require.ErrorIs(t, err, os.ErrNotExist)
}
