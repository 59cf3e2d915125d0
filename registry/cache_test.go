package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// pushArtifact pushes a manifest with one layer, and maybe a subject, and returns it.
func pushArtifact(t *testing.T, host, repository, tag, content string, subject *ocispec.Descriptor) (manifest, layer ocispec.Descriptor) {
	t.Helper()
	c := newClient(t)
	ref := Reference{Host: host, Repository: repository, Tag: tag}
	layer = ocispec.Descriptor{MediaType: "text/plain", Digest: digest.FromString(content), Size: int64(len(content))}
	empty := ocispec.DescriptorEmptyJSON
	for d, b := range map[*ocispec.Descriptor]string{&layer: content, &empty: "{}"} {
		_, err := c.PushBlob(t.Context(), ref, BlobUpload{Descriptor: *d, Content: strings.NewReader(b)})
		require.NoError(t, err)
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "text/" + content,
		Config: ocispec.Descriptor{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size},
		Layers: []ocispec.Descriptor{layer}, Subject: subject,
	}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	manifest = ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if tag == "" {
		ref.Digest = manifest.Digest
	}
	require.NoError(t, c.PushManifest(t.Context(), ref, manifest, b))
	return manifest, layer
}

func readAllOf(t *testing.T, c *Client, ref Reference, d ocispec.Descriptor) string {
	t.Helper()
	r, err := c.Blob(t.Context(), ref, d)
	require.NoError(t, err)
	defer r.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	require.NoError(t, err)
	return b.String()
}

func TestCacheStore(t *testing.T) {
	var gets, down atomic.Int32
	inner := &Server{}
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() != 0 {
			w.WriteHeader(int(down.Load()))
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			gets.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	one, layer := pushArtifact(t, upstream, "app", "v1", "one", nil)
	keep := &MemoryStore{}
	upstreamClient := newClient(t)
	upstreamClient.Retries = -1
	mirror := newServer(t, &Server{Store: &CacheStore{Keep: keep, Client: upstreamClient, Upstream: upstream}})
	c := newClient(t)
	c.Retries = -1
	ref := Reference{Host: mirror, Repository: "app", Tag: "v1"}
	got, _, err := c.Manifest(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, one.Digest, got.Digest)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if b := readAllOf(t, c, ref, layer); b != "one" {
				t.Errorf("%q", b)
			}
		})
	}
	all.Wait()
	require.Equal(t, int32(1), gets.Load(), "fetched once")
	tags, err := c.Tags(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, []string{"v1"}, tags)

	// A tag that moves is noticed at once.
	two, _ := pushArtifact(t, upstream, "app", "v1", "two", &one)
	got, _, err = c.Manifest(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, two.Digest, got.Digest)
	list, err := c.Referrers(t.Context(), Reference{Host: mirror, Repository: "app", Digest: one.Digest}, "")
	require.NoError(t, err)
	require.Len(t, list, 1)

	// An upstream that fails is stood in for; one that says no is believed; its 401 is not passed on.
	for status, works := range map[int]bool{500: true, 503: true, 404: false, 401: false} {
		down.Store(int32(status))
		got, _, err = c.Manifest(t.Context(), ref)
		if works {
			require.NoError(t, err, status)
			require.Equal(t, two.Digest, got.Digest)
			require.Equal(t, "one", readAllOf(t, c, ref, layer))
			continue
		}
		require.ErrorIs(t, err, fs.ErrNotExist, status)
		require.False(t, errors.Is(err, ErrUnauthorized))
	}
	down.Store(500)
	_, _, err = c.Manifest(t.Context(), Reference{Host: mirror, Repository: "app", Tag: "v2"})
	require.ErrorContains(t, err, "upstream registry fails")
	_, err = c.Blob(t.Context(), ref, ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1})
	require.Error(t, err)
	down.Store(0)
	_, err = c.PushBlob(t.Context(), ref, BlobUpload{Descriptor: layer, Content: strings.NewReader("one")})
	require.NoError(t, err, "it is there")
	other := ocispec.Descriptor{Digest: digest.FromString("other"), Size: 5}
	_, err = c.PushBlob(t.Context(), ref, BlobUpload{Descriptor: other, Content: strings.NewReader("other")})
	require.Error(t, err, "it takes no pushes")
}

// TestCacheStoreFetchesOnce: who looked before a blob had come, and asks for it after, does not have it fetched again.
func TestCacheStoreFetchesOnce(t *testing.T) {
	var gets atomic.Int32
	inner := &Server{}
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			gets.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	_, layer := pushArtifact(t, upstream, "app", "v1", "one", nil)
	s := &CacheStore{Keep: &MemoryStore{}, Client: newClient(t), Upstream: upstream}
	before := gets.Load()
	for range 3 {
		require.NoError(t, s.fetchOnce(t.Context(), "app", layer.Digest))
	}
	require.Equal(t, before+1, gets.Load())
}

// A fullKeep has no space for blobs.
type fullKeep struct{ *MemoryStore }

func (fullKeep) AppendUpload(context.Context, UploadID, int64, io.Reader) (int64, error) {
	return 0, &fs.PathError{Op: "write", Path: "data", Err: syscall.ENOSPC}
}

// TestCacheStoreFull: a mirror whose own disk is full says that, and does not blame the upstream.
func TestCacheStoreFull(t *testing.T) {
	upstream := newServer(t, &Server{})
	_, layer := pushArtifact(t, upstream, "app", "v1", "one", nil)
	keep := fullKeep{&MemoryStore{}}
	mirror := newServer(t, &Server{Store: &CacheStore{Keep: keep, Client: newClient(t), Upstream: upstream}})
	_, err := newClient(t).Blob(t.Context(), Reference{Host: mirror, Repository: "app"}, layer)
	if err == nil {
		_, err = readBlob(t, newClient(t), Reference{Host: mirror, Repository: "app"}, layer)
	}
	require.ErrorContains(t, err, "the registry's file system is full")
}

// TestCacheStoreVerifies: an upstream that sends other bytes is not believed, and nothing of them is kept.
func TestCacheStoreVerifies(t *testing.T) {
	d := ocispec.Descriptor{Digest: digest.FromString("right"), Size: 5}
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = w.Write([]byte("wrong"))
	}))
	keep := &MemoryStore{}
	client := newClient(t)
	client.Retries = -1
	s := &CacheStore{Keep: keep, Client: client, Upstream: upstream}
	_, err := s.Blob(t.Context(), "app", d.Digest)
	require.Error(t, err)
	_, err = keep.Blob(t.Context(), "app", d.Digest)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestReferrers(t *testing.T) {
	host := newServer(t, &Server{})
	subject, _ := pushArtifact(t, host, "app", "v1", "subject", nil)
	a, _ := pushArtifact(t, host, "app", "", "sig", &subject)
	b, _ := pushArtifact(t, host, "app", "", "sbom", &subject)
	c := newClient(t)
	ref := Reference{Host: host, Repository: "app", Digest: subject.Digest}
	digests := func(artifactType string) (all []digest.Digest) {
		list, err := c.Referrers(t.Context(), ref, artifactType)
		require.NoError(t, err)
		for _, d := range list {
			all = append(all, d.Digest)
		}
		return all
	}
	require.ElementsMatch(t, []digest.Digest{a.Digest, b.Digest}, digests(""))
	require.Equal(t, []digest.Digest{a.Digest}, digests("text/sig"))
	require.Empty(t, digests("text/none"))
	_, err := c.Referrers(t.Context(), Reference{Host: host, Repository: "app", Tag: "v1"}, "")
	require.ErrorIs(t, err, ErrInvalidReference)
	ref.Digest = digest.FromString("nobody's")
	require.Empty(t, digests(""))
}

// TestReferrersByTag: a registry without the API is asked for the tag that stands in for it.
func TestReferrersByTag(t *testing.T) {
	d := digest.FromString("subject")
	sig := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "a/b", Digest: digest.FromString("sig"), Size: 3}
	page, mediaType := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{sig}}, ocispec.MediaTypeImageIndex
	list := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case list != "" && strings.Contains(r.URL.Path, "/referrers/"):
			_, _ = w.Write([]byte(list))
		case strings.HasSuffix(r.URL.Path, "/manifests/sha256-"+d.Encoded()):
			b, _ := json.Marshal(page)
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(b)
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	c := newClient(t)
	ref := Reference{Host: strings.TrimPrefix(s.URL, "http://"), Repository: "app", Digest: d}
	got, err := c.Referrers(t.Context(), ref, "a/b")
	require.NoError(t, err)
	require.Equal(t, []ocispec.Descriptor{sig}, got)
	got, err = c.Referrers(t.Context(), ref, "other")
	require.NoError(t, err)
	require.Empty(t, got)
	for _, bad := range []string{"[", `{"manifests":[{"digest":"sha256:../../x","size":1}]}`, `{"manifests":[{"digest":"` + string(d) + `","size":-1}]}`} {
		list = bad
		_, err = c.Referrers(t.Context(), ref, "")
		require.ErrorContains(t, err, "list of referrers")
	}
}

// TestReferrersMemory: a registry cannot fill the memory by pages that say little at length.
func TestReferrersMemory(t *testing.T) {
	d := digest.FromString("subject")
	pages, pad := 0, strings.Repeat("x", 3<<20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pages++; pages < 20 {
			w.Header().Set("Link", fmt.Sprintf(`</v2/app/referrers/%s?n=%d>; rel="next"`, d, pages))
		}
		_, _ = fmt.Fprintf(w, `{"manifests":[{"digest":%q,"size":1,"annotations":{"a":"%s"}}]}`, d, pad)
	}))
	defer s.Close()
	_, err := newClient(t).Referrers(t.Context(), Reference{Host: strings.TrimPrefix(s.URL, "http://"), Repository: "app", Digest: d}, "")
	require.ErrorContains(t, err, "longer than")
	require.Equal(t, maxReferrersSize/len(pad)+1, pages)
}

// TestCacheStorePrivate: what only this side's credentials may read is shown to nobody by default, and when it is asked
// for it is kept apart.
func TestCacheStorePrivate(t *testing.T) {
	upstream, protect := "", false
	inner := &Server{}
	inner.Authorize = func(r *http.Request, repository, _ string) error {
		if user, password, _ := r.BasicAuth(); protect && repository == "secret" && (user != "u" || password != "p") {
			return ErrUnauthorized
		}
		return nil
	}
	upstream = newServer(t, inner)
	open, openLayer := pushArtifact(t, upstream, "open", "v1", "open", nil)
	secret, secretLayer := pushArtifact(t, upstream, "secret", "v1", "secret", nil)
	protect = true
	eachStore(t, func(t *testing.T, keep fullStore) {
		client := newClient(t)
		client.Credentials = func(context.Context, string) (Credential, error) {
			return Credential{Username: "u", Password: "p"}, nil
		}
		read := func(private bool, repository string, manifest, layer ocispec.Descriptor) (err error) {
			s := &CacheStore{Keep: keep, Client: client, Upstream: upstream, Private: private}
			for _, reference := range []string{"v1", string(manifest.Digest)} {
				_, _, err2 := s.Manifest(t.Context(), repository, reference)
				err = errors.Join(err, err2)
			}
			b, err2 := s.Blob(t.Context(), repository, layer.Digest)
			if err2 == nil {
				err2 = b.Close()
			}
			_, err3 := s.Tags(t.Context(), repository)
			_, err4 := s.Referrers(t.Context(), repository, manifest.Digest)
			return errors.Join(err, err2, err3, err4)
		}
		require.NoError(t, read(false, "open", open, openLayer))
		for range 2 { // before it was fetched, and after
			err := read(false, "secret", secret, secretLayer)
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), 4)
			require.NoError(t, read(true, "secret", secret, secretLayer))
		}
	})
}

// TestCacheStoreBudget: a cache keeps what was read last, and never more than it may.
func TestCacheStoreBudget(t *testing.T) {
	upstream := newServer(t, &Server{})
	put := func(n, size int) (d digest.Digest) {
		content := strings.Repeat(fmt.Sprintf("%07d ", n), size/8)
		d = digest.FromString(content)
		_, err := newClient(t).PushBlob(t.Context(), Reference{Host: upstream, Repository: "app"}, BlobUpload{
			Descriptor: ocispec.Descriptor{Digest: d, Size: int64(len(content))}, Content: strings.NewReader(content)})
		require.NoError(t, err)
		return d
	}
	var all []digest.Digest
	for n := range 30 {
		all = append(all, put(n, 8000))
	}
	big := put(99, 80000)
	eachStore(t, func(t *testing.T, keep fullStore) {
		client := newClient(t)
		s := &CacheStore{Keep: keep, Client: client, Upstream: upstream, MaxSize: 50000}
		read := func(d digest.Digest) error {
			b, err := s.Blob(t.Context(), "app", d)
			if err != nil {
				return err
			}
			return b.Close()
		}
		size := func() int64 {
			n, err := keep.(UsageReporter).Usage(t.Context(), "public/app")
			require.NoError(t, err)
			return n
		}
		for _, d := range all {
			require.NoError(t, read(d))
			require.NoError(t, read(all[0]))      // the one that is used
			if f, ok := keep.(*FolderStore); ok { // a minute passes
				require.NoError(t, os.Chtimes(f.blobPath(d), time.Time{}, time.Now().Add(-time.Hour)))
				require.NoError(t, os.Chtimes(f.blobPath(all[0]), time.Time{}, time.Now().Add(-5*time.Minute)))
			}
			require.LessOrEqual(t, size(), s.MaxSize)
		}
		_, err := keep.Blob(t.Context(), "public/app", all[1])
		require.ErrorIs(t, err, fs.ErrNotExist)
		b, err := keep.Blob(t.Context(), "public/app", all[0])
		require.NoError(t, err)
		require.NoError(t, b.Close())
		require.ErrorContains(t, read(big), "no room")
		// Many at once.
		var wg sync.WaitGroup
		for _, d := range all {
			wg.Go(func() { _ = read(d) })
		}
		wg.Wait()
		require.LessOrEqual(t, size(), s.MaxSize)
		require.NoError(t, read(all[3]))
		if f, ok := keep.(*FolderStore); ok {
			require.NoError(t, f.Check(t.Context()))
		}
	})
}
