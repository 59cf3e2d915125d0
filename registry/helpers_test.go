package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// newServer serves h over plain HTTP on loopback and returns its host.
func newServer(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// newClient returns a client that is not patient.
func newClient(t testing.TB) *Client {
	t.Helper()
	c := &Client{firstBackoff: time.Millisecond, ResponseTimeout: 5 * time.Second, StallTimeout: 5 * time.Second}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// dialing makes every connection of c go to address, whatever the host's name.
func dialing(c *Client, address string) *Client {
	c.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	return c
}

func parse(t testing.TB, s string) Reference {
	t.Helper()
	r, err := ParseReference(s)
	require.NoError(t, err)
	return r
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

func describing(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// pushImage pushes an image of one layer and returns its manifest and layer.
func pushImage(t testing.TB, c *Client, ref Reference, layer []byte) (manifest []byte, desc ocispec.Descriptor) {
	t.Helper()
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	desc = describing(ocispec.MediaTypeImageLayerGzip, layer)
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: describing(ocispec.MediaTypeImageConfig, config), Layers: []ocispec.Descriptor{desc},
	}
	m.SchemaVersion = 2
	for _, b := range [][]byte{config, layer} {
		_, err := c.PushBlob(t.Context(), ref, BlobUpload{Descriptor: describing("", b), Content: bytes.NewReader(b)})
		require.NoError(t, err)
	}
	manifest, err := json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, c.PushManifest(t.Context(), ref, ocispec.Descriptor{}, manifest))
	return manifest, desc
}

// readBlob reads a whole blob.
func readBlob(t testing.TB, c *Client, ref Reference, desc ocispec.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := c.Blob(t.Context(), ref, desc)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	require.NoError(t, r.Close())
	return b, err
}
