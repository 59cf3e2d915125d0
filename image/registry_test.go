package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/registry"
)

// A fakeRegistry serves what it is given and can be made to misbehave.
type fakeRegistry struct {
	*httptest.Server

	mu        sync.Mutex
	blobs     map[digest.Digest][]byte
	manifests map[string]typed // by tag and by digest
	gets      map[string]int   // requests by path's last element
	ranges    []string         // Range headers seen

	pause time.Duration // after each piece of a blob
	piece int           // bytes; 0 means all at once
	// spoil, when set, may answer a request for a blob itself.
	spoil func(w http.ResponseWriter, r *http.Request, blob []byte) bool
}

type typed struct {
	mediaType string
	bytes     []byte
}

func newFakeRegistry(t testing.TB) *fakeRegistry {
	f := &fakeRegistry{blobs: map[digest.Digest][]byte{}, manifests: map[string]typed{}, gets: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// slow makes blobs come in pieces, with pauses between; 0 bytes make it fast again.
func (f *fakeRegistry) slow(piece int, pause time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.piece, f.pause = piece, pause
}

// spoilBlobs lets a function answer requests for blobs, where it returns true.
func (f *fakeRegistry) spoilBlobs(spoil func(w http.ResponseWriter, r *http.Request, blob []byte) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil = spoil
}

// ref returns the full name of a tag or "@digest" in the registry.
func (f *fakeRegistry) ref(name string) string {
	return strings.TrimPrefix(f.URL, "http://") + "/" + name
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	last := parts[len(parts)-1]
	f.mu.Lock()
	if r.Method == http.MethodGet {
		f.gets[last]++
		if h := r.Header.Get("Range"); h != "" {
			f.ranges = append(f.ranges, h)
		}
	}
	m, isManifest := f.manifests[last]
	b, isBlob := f.blobs[digest.Digest(last)]
	spoil, piece, pause := f.spoil, f.piece, f.pause
	f.mu.Unlock()
	switch {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/manifests/") && isManifest:
		w.Header().Set("Content-Type", m.mediaType)
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(m.bytes).String())
		w.Header().Set("Content-Length", fmt.Sprint(len(m.bytes)))
		_, _ = w.Write(m.bytes)
	case strings.Contains(r.URL.Path, "/blobs/") && isBlob:
		if spoil != nil && spoil(w, r, b) {
			return
		}
		if piece > 0 {
			w = &slowWriter{ResponseWriter: w, piece: piece, pause: pause}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	default:
		http.NotFound(w, r)
	}
}

type slowWriter struct {
	http.ResponseWriter
	piece int
	pause time.Duration
}

func (s *slowWriter) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, s.piece) {
		m, err := s.ResponseWriter.Write(part)
		n += m
		if err != nil {
			return n, err
		}
		s.ResponseWriter.(http.Flusher).Flush()
		time.Sleep(s.pause)
	}
	return n, nil
}

func (f *fakeRegistry) blob(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[d.Digest] = b
	return d
}

// put serves a document as a manifest, by its digest and by tags.
func (f *fakeRegistry) put(t testing.TB, mediaType string, v any, tags ...string) ocispec.Descriptor {
	b, ok := v.([]byte)
	if !ok {
		var err error
		b, err = json.Marshal(v)
		require.NoError(t, err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range append(tags, d.Digest.String()) {
		f.manifests[name] = typed{mediaType, b}
	}
	return d
}

func (f *fakeRegistry) count(d digest.Digest) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets[d.String()]
}

// A testLayer is a layer by the files in it: name to content; a name that ends in "/" is a folder.
type testLayer map[string]string

func (l testLayer) tar(t testing.TB) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	names := make([]string, 0, len(l))
	for n := range l {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		h := &tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(l[n])), ModTime: time.Unix(1e9, 0)}
		if strings.HasSuffix(n, "/") {
			h.Typeflag, h.Mode, h.Size = tar.TypeDir, 0o755, 0
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(l[n]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// A testImage is an image to be served.
type testImage struct {
	layers   []testLayer
	docker   bool   // Docker's media types, not OCI's
	compress string // "" is gzip; "stored" is gzip that does not compress, "zstd" has windows of 8 MiB, "zstd32" of 32, "plain"
	platform ocispec.Platform
	cmd      []string
	mangle   func(*ocispec.Manifest, *ocispec.Image)
}

func compress(t testing.TB, how string, b []byte) []byte {
	var out bytes.Buffer
	switch how {
	case "", "stored":
		w, err := gzip.NewWriterLevel(&out, map[string]int{"": gzip.BestSpeed, "stored": gzip.NoCompression}[how])
		require.NoError(t, err)
		_, err = w.Write(b)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	case "zstd", "zstd32":
		w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(map[string]int{"zstd": 8 << 20, "zstd32": 32 << 20}[how]))
		require.NoError(t, err)
		_, err = w.Write(b)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	default:
		return b
	}
	return out.Bytes()
}

// add serves an image under tags.
func (f *fakeRegistry) add(t testing.TB, i testImage, tags ...string) ocispec.Descriptor {
	layerType := map[string]string{
		"": ocispec.MediaTypeImageLayerGzip, "stored": ocispec.MediaTypeImageLayerGzip,
		"zstd": ocispec.MediaTypeImageLayerZstd, "zstd32": ocispec.MediaTypeImageLayerZstd, "plain": ocispec.MediaTypeImageLayer,
	}[i.compress]
	manifestType, configType := ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig
	if i.docker {
		manifestType, configType = registry.MediaTypeDockerManifest, registry.MediaTypeDockerConfig
		layerType = "application/vnd.docker.image.rootfs.diff.tar" +
			map[string]string{"": ".gzip", "zstd": ".zstd"}[i.compress]
	}
	if i.platform.OS == "" {
		i.platform = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	}
	created := time.Unix(1.6e9, 0).UTC()
	config := ocispec.Image{
		Created: &created, Platform: i.platform, Config: ocispec.ImageConfig{Cmd: i.cmd},
		RootFS: ocispec.RootFS{Type: "layers"},
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType}
	for _, l := range i.layers {
		b := l.tar(t)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(b))
		m.Layers = append(m.Layers, f.blob(layerType, compress(t, i.compress, b)))
	}
	if i.mangle != nil {
		i.mangle(nil, &config)
	}
	b, err := json.Marshal(config)
	require.NoError(t, err)
	m.Config = f.blob(configType, b)
	if i.mangle != nil {
		i.mangle(&m, nil)
	}
	d := f.put(t, manifestType, m, tags...)
	d.Platform = &i.platform
	return d
}

func (f *fakeRegistry) addIndex(t testing.TB, tag string, list ...ocispec.Descriptor) ocispec.Descriptor {
	return f.put(t, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list,
	}, tag)
}

// noise is content that does not compress.
func noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func openStore(t testing.TB, dir string) *Store {
	s, err := Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { checkStore(t, s) })
	return s
}

// checkStore fails the test when something in the store is wrong, or nothing leads to it.
func checkStore(t testing.TB, s *Store) {
	t.Helper()
	require.NoError(t, s.Check(context.Background(), &CheckOptions{Deep: true, Unreferenced: true}))
}

func writeFile(path string, b []byte) error { return os.WriteFile(path, b, 0o644) }
