package registry

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkBlob pulls a blob of 64 MiB from a folder's server over loopback. Its limit is a plain net/http download
// and one SHA-256 of the same bytes, in the same process: the metric "of-limit" is the time as a multiple of theirs,
// measured in turns.
func BenchmarkBlob(b *testing.B) {
	content := randomBytes(64 << 20)
	host := newServer(b, &Server{Store: newFolder(b)})
	c := newClient(b)
	ref := parse(b, host+"/app")
	desc := describing("", content)
	_, err := c.PushBlob(b.Context(), ref, BlobUpload{Descriptor: desc, Content: bytes.NewReader(content)})
	require.NoError(b, err)
	plain := &http.Client{Transport: newTransport()}
	defer plain.CloseIdleConnections()
	buffer := make([]byte, 256<<10)
	var ours, limit time.Duration
	b.SetBytes(2 * int64(len(content))) // each is read twice
	for b.Loop() {
		start := time.Now()
		r, err := c.Blob(b.Context(), ref, desc)
		require.NoError(b, err)
		_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, buffer)
		require.NoError(b, err)
		require.NoError(b, r.Close())
		ours += time.Since(start)

		start = time.Now()
		resp, err := plain.Get("http://" + host + "/v2/app/blobs/" + string(desc.Digest))
		require.NoError(b, err)
		_, err = io.CopyBuffer(struct{ io.Writer }{sha256.New()}, struct{ io.Reader }{resp.Body}, buffer)
		require.NoError(b, err)
		require.NoError(b, resp.Body.Close())
		limit += time.Since(start)
	}
	b.ReportMetric(ours.Seconds()/limit.Seconds(), "of-limit")
}
