package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// TestServeOutlastsProgram: another Served of the same folder goes on with what one has begun, and what nobody goes on with
// for a day is given up, half-written records too.
func TestServeOutlastsProgram(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	first, err := openStore(t, dir).Serve("here.test")
	require.NoError(t, err)
	u, err := first.NewUpload(t.Context(), "app")
	require.NoError(t, err)
	_, err = first.AppendUpload(t.Context(), u, 0, strings.NewReader("hel"))
	require.NoError(t, err)

	s := openStore(t, dir)
	second, err := s.Serve("here.test")
	require.NoError(t, err)
	_, err = second.AppendUpload(t.Context(), registry.UploadID{Repository: "other", ID: u.ID}, -1, nil)
	require.ErrorIs(t, err, registry.ErrNotFound)
	_, err = second.AppendUpload(t.Context(), u, 3, strings.NewReader("lo"))
	require.NoError(t, err)
	d := digest.FromString("hello")
	require.NoError(t, first.CommitUpload(t.Context(), u, d), "its digest is of both parts")
	tags, err := second.Tags(t.Context(), "app")
	require.NoError(t, err)
	require.Empty(t, tags)
	b, err := second.Blob(t.Context(), "app", d)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	_, err = second.Blob(t.Context(), "other", d)
	require.ErrorIs(t, err, registry.ErrNotFound)
	require.NoError(t, second.MountBlob(t.Context(), "other", "app", d))

	u, err = first.NewUpload(t.Context(), "app")
	require.NoError(t, err)
	_, err = first.AppendUpload(t.Context(), u, 0, strings.NewReader("never ended"))
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
	require.FileExists(t, s.blobPath(d))
	require.NoError(t, os.WriteFile(s.path(pushedName, ".tmp-1"), []byte("{"), 0o600))
	old := time.Now().Add(-partialAge - time.Hour)
	records, err := filepath.Glob(s.path(pushedName, "*"))
	require.NoError(t, err)
	require.Len(t, records, 3)
	for _, path := range append(records, s.path(uploadsName, u.ID, "data")) {
		require.NoError(t, os.Chtimes(path, old, old))
	}
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
	require.NoFileExists(t, s.blobPath(d))
	requireEmpty(t, s, pushedName, uploadsName)
}
