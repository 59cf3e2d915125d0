package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

type entry struct {
	tar.Header
	body string
}

// newTar makes a tar stream in memory.
func newTar(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.body))
		h.Format = tar.FormatPAX
		require.NoError(t, w.WriteHeader(&h), h.Name)
		_, err := w.Write([]byte(e.body))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Check(context.Background())) })
	return s
}

func TestAddAndMount(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	l, err := s.Add(t.Context(), bytes.NewReader(newTar(t,
		entry{Header: tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755}},
		entry{Header: tar.Header{Name: "a/f", Mode: 0o4755, Uid: 12}, body: "hello"},
		entry{Header: tar.Header{Name: "b/.wh.c"}},
	)), nil)
	require.NoError(t, err)
	t.Logf("%+v", l)
	for _, old := range []bool{false, true} {
		oldMount = old
		root, err := Mount(t.Context(), []Layer{l}, &MountOptions{ReadOnly: true})
		require.NoError(t, err)
		require.NoError(t, root.Close())
		root, err = Mount(t.Context(), []Layer{l}, &MountOptions{Target: t.TempDir()})
		require.NoError(t, err)
		require.NoError(t, root.Close())
	}
}
