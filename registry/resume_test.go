package registry

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResumeBlob(t *testing.T) {
	content := randomBytes(100_000)
	s := &cuttingServer{content: content, cut: func(_ int, w http.ResponseWriter, _ *http.Request, rest []byte) {
		sendPart(w, rest, len(rest))
	}}
	c, ref := newClient(t), parse(t, newServer(t, s)+"/app")
	for n, want := range map[int][]string{1: {"bytes=1-"}, 60_000: {"bytes=60000-"}, 99_999: {"bytes=99999-"}, len(content): nil} {
		s.ranges = nil
		r, err := c.ResumeBlob(t.Context(), ref, describing("", content), bytes.NewReader(content[:n]))
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, bytes.Equal(content, got))
		require.Equal(t, want, s.ranges)
	}

	wrong := bytes.Clone(content[:60_000])
	wrong[0] ^= 1
	r, err := c.ResumeBlob(t.Context(), ref, describing("", content), bytes.NewReader(wrong))
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	var de *DigestError
	require.ErrorAs(t, err, &de, "the beginning is verified too")
	require.NoError(t, r.Close())

	r, err = c.ResumeBlob(t.Context(), ref, describing("", content), io.MultiReader(bytes.NewReader(content), bytes.NewReader(wrong)))
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err, "of more than the size only the size is read")
	require.True(t, bytes.Equal(content, got))
	require.NoError(t, r.Close())
}
