package registry

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// fullStore is what both stores can do.
type fullStore interface {
	Store
	ReferrerLister
	UploadStore
	UploadRemover
	BlobMounter
	ManifestPutter
	Deleter
}

// newFolder opens a store in a temporary folder, and checks it when the test ends.
func newFolder(t testing.TB) *FolderStore {
	t.Helper()
	s, err := OpenFolder(t.TempDir())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("a FolderStore needs file locks")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Check(context.Background())) })
	return s
}

// eachStore runs a test with both stores.
func eachStore(t *testing.T, test func(t *testing.T, s fullStore)) {
	t.Run("memory", func(t *testing.T) { test(t, new(MemoryStore)) })
	t.Run("folder", func(t *testing.T) { test(t, newFolder(t)) })
}

func putBlob(t testing.TB, s UploadStore, repository, content string) digest.Digest {
	t.Helper()
	u, err := s.NewUpload(t.Context(), repository)
	require.NoError(t, err)
	_, err = s.AppendUpload(t.Context(), u, 0, strings.NewReader(content))
	require.NoError(t, err)
	require.NoError(t, s.CommitUpload(t.Context(), u, digest.FromString(content)))
	return digest.FromString(content)
}

func putManifest(t testing.TB, s ManifestPutter, repository, content string, tags ...string) ocispec.Descriptor {
	t.Helper()
	desc := describing(ocispec.MediaTypeImageManifest, []byte(content))
	require.NoError(t, s.PutManifest(t.Context(), repository, &StoredManifest{Descriptor: desc, Content: []byte(content), Tags: tags}))
	return desc
}

func blobText(t testing.TB, s Store, repository string, d digest.Digest) string {
	t.Helper()
	b, err := s.Blob(t.Context(), repository, d)
	require.NoError(t, err)
	text, err := io.ReadAll(b)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	return string(text)
}

func TestStoreBlobs(t *testing.T) {
	eachStore(t, func(t *testing.T, s fullStore) {
		d := putBlob(t, s, "a/b", "hello")
		require.Equal(t, "hello", blobText(t, s, "a/b", d))
		for _, other := range []string{"a", "a/b/c", "b"} {
			_, err := s.Blob(t.Context(), other, d)
			require.ErrorIs(t, err, fs.ErrNotExist, "a blob is seen through its own repository only")
		}
		require.ErrorIs(t, s.MountBlob(t.Context(), "b", "c", d), fs.ErrNotExist)
		require.NoError(t, s.MountBlob(t.Context(), "b", "a/b", d))
		require.NoError(t, s.MountBlob(t.Context(), "c", "", d))
		require.NoError(t, s.DeleteBlob(t.Context(), "a/b", d))
		require.ErrorIs(t, s.DeleteBlob(t.Context(), "a/b", d), fs.ErrNotExist)
		_, err := s.Blob(t.Context(), "a/b", d)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Equal(t, "hello", blobText(t, s, "b", d))
		putBlob(t, s, "a/b", "hello")
		require.Equal(t, "hello", blobText(t, s, "a/b", d))
		tags, err := s.Tags(t.Context(), "a/b")
		require.NoError(t, err)
		require.Empty(t, tags)
		_, err = s.Tags(t.Context(), "a")
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func TestStoreUploads(t *testing.T) {
	eachStore(t, func(t *testing.T, s fullStore) {
		u, err := s.NewUpload(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, validUUID(u.ID))
		n, err := s.AppendUpload(t.Context(), u, 0, io.MultiReader(strings.NewReader("one "), iotest.ErrReader(io.ErrUnexpectedEOF)))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.EqualValues(t, 4, n, "what came before the error is kept")
		n, err = s.AppendUpload(t.Context(), u, 3, strings.NewReader("two"))
		require.ErrorIs(t, err, ErrUploadOffset)
		require.EqualValues(t, 4, n)
		n, err = s.AppendUpload(t.Context(), u, -1, nil)
		require.NoError(t, err)
		require.EqualValues(t, 4, n)

		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := s.AppendUpload(context.Background(), u, 4, r)
			done <- err
		}()
		_, err = w.Write([]byte("two"))
		require.NoError(t, err)
		_, err = s.AppendUpload(t.Context(), u, -1, nil)
		require.ErrorIs(t, err, ErrUploadBusy)
		require.ErrorIs(t, s.CommitUpload(t.Context(), u, someDigest), ErrUploadBusy)
		require.ErrorIs(t, s.CancelUpload(t.Context(), u), ErrUploadBusy)
		expired, err := s.ExpireUploads(t.Context(), time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Zero(t, expired)
		require.NoError(t, w.Close())
		require.NoError(t, <-done)

		for _, other := range []UploadID{{"b", u.ID}, {"a", newUUID()}, {"a", "../../x"}, {"a", ""}} {
			_, err = s.AppendUpload(t.Context(), other, -1, nil)
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.ErrorIs(t, s.CancelUpload(t.Context(), other), fs.ErrNotExist)
		}
		want := digest.SHA512.FromString("one two")
		require.NoError(t, s.CommitUpload(t.Context(), u, want))
		require.Equal(t, "one two", blobText(t, s, "a", want))
		require.ErrorIs(t, s.CommitUpload(t.Context(), u, want), fs.ErrNotExist)

		u, err = s.NewUpload(t.Context(), "a")
		require.NoError(t, err)
		var wrong *DigestError
		require.ErrorAs(t, s.CommitUpload(t.Context(), u, digest.FromString("x")), &wrong)
		require.Equal(t, digest.FromString(""), wrong.Got)
		_, err = s.AppendUpload(t.Context(), u, -1, nil)
		require.ErrorIs(t, err, fs.ErrNotExist, "a wrong digest ends the upload")
	})
}

func TestStoreExpiry(t *testing.T) {
	eachStore(t, func(t *testing.T, s fullStore) {
		start := time.Now()
		u, err := s.NewUpload(t.Context(), "a")
		require.NoError(t, err)
		gone, err := s.NewUpload(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, s.CancelUpload(t.Context(), gone))
		n, err := s.ExpireUploads(t.Context(), start.Add(-time.Minute))
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = s.ExpireUploads(t.Context(), time.Now().Add(time.Second))
		require.NoError(t, err)
		require.Equal(t, 1, n)
		_, err = s.AppendUpload(t.Context(), u, -1, nil)
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func TestStoreManifests(t *testing.T) {
	eachStore(t, func(t *testing.T, s fullStore) {
		one, two := putManifest(t, s, "a", "one", "x", "latest"), putManifest(t, s, "a", "two", "latest", "Z")
		get := func(reference string) string {
			desc, content, err := s.Manifest(t.Context(), "a", reference)
			require.NoError(t, err)
			require.Equal(t, digest.FromBytes(content), desc.Digest)
			return string(content)
		}
		require.Equal(t, "one", get("x"))
		require.Equal(t, "two", get("latest"))
		require.Equal(t, "one", get(string(one.Digest)))
		tags, err := s.Tags(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, []string{"Z", "latest", "x"}, tags)
		_, err = s.Blob(t.Context(), "a", one.Digest)
		require.ErrorIs(t, err, fs.ErrNotExist, "a manifest is no blob")

		require.NoError(t, s.DeleteTag(t.Context(), "a", "Z"))
		require.ErrorIs(t, s.DeleteTag(t.Context(), "a", "Z"), fs.ErrNotExist)
		require.NoError(t, s.DeleteManifest(t.Context(), "a", two.Digest))
		require.ErrorIs(t, s.DeleteManifest(t.Context(), "a", two.Digest), fs.ErrNotExist)
		for _, reference := range []string{"Z", "latest", string(two.Digest), "nothing"} {
			_, _, err := s.Manifest(t.Context(), "a", reference)
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
		_, _, err = s.Manifest(t.Context(), "b", string(one.Digest))
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func TestStoreReferrers(t *testing.T) {
	eachStore(t, func(t *testing.T, s fullStore) {
		all, err := s.Referrers(t.Context(), "nowhere", someDigest)
		require.NoError(t, err)
		require.Empty(t, all)
		var want []ocispec.Descriptor
		for _, content := range []string{"1", "2", "3"} {
			desc := describing(ocispec.MediaTypeImageManifest, []byte(content))
			desc.ArtifactType, desc.Annotations = "kind/"+content, map[string]string{"k": content}
			require.NoError(t, s.PutManifest(t.Context(), "a", &StoredManifest{Descriptor: desc, Content: []byte(content), Subject: someDigest}))
			want = append(want, desc)
		}
		sortDescriptors(want)
		all, err = s.Referrers(t.Context(), "a", someDigest)
		require.NoError(t, err)
		require.Equal(t, want, all)
		require.NoError(t, s.DeleteManifest(t.Context(), "a", want[1].Digest))
		all, err = s.Referrers(t.Context(), "a", someDigest)
		require.NoError(t, err)
		require.Equal(t, []ocispec.Descriptor{want[0], want[2]}, all)
	})
}
