package registry

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Store is what a Server serves from. With these three methods it serves pulls; what else a store can do it says by
// implementing ReferrerLister, UploadStore, UploadRemover, BlobMounter, ManifestPutter and Deleter, and the Server
// answers UNSUPPORTED to what is missing.
//
// Repository names, tags and digests are valid when they get here. What does not exist is an error that satisfies
// errors.Is(err, fs.ErrNotExist), as ErrNotFound does; an *Error is sent to the client as it is, anything else
// becomes a 500. A blob or manifest is to be found only through a repository that it was pushed to. All methods must
// be safe for concurrent use.
type Store interface {
	// Manifest returns a manifest, exactly as it was put, by tag or by digest, with media type, digest and size.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)
	// Blob opens a blob for reading. Seeking to its end tells its size.
	Blob(ctx context.Context, repository string, d digest.Digest) (io.ReadSeekCloser, error)
	// Tags returns all tags of a repository, sorted by bytes; none is no error as long as the repository exists.
	Tags(ctx context.Context, repository string) ([]string, error)
}

// A ReferrerLister is a Store that knows which manifests have a given subject.
type ReferrerLister interface {
	// Referrers returns the descriptors of the manifests whose subject is d, with artifactType and annotations, sorted
	// by digest; none when there is none, even when the repository does not exist.
	Referrers(ctx context.Context, repository string, d digest.Digest) ([]ocispec.Descriptor, error)
}

// An UploadID names an upload that is under way.
type UploadID struct{ Repository, ID string }

// An UploadStore is a Store that blobs can be pushed to.
type UploadStore interface {
	// NewUpload begins an upload and returns its name, a UUID.
	NewUpload(ctx context.Context, repository string) (UploadID, error)
	// AppendUpload adds what r holds and returns the size that the upload then has. Offset must be the size before,
	// or negative for wherever it stands; otherwise nothing is read and the error is ErrUploadOffset. What was read
	// before an error of r is kept. A nil r only asks for the size. Two at once: the second one gets ErrUploadBusy.
	AppendUpload(ctx context.Context, u UploadID, offset int64, r io.Reader) (int64, error)
	// CommitUpload makes the upload a blob of its repository, durably, and ends it. When the content does not have the
	// digest the upload is over and the error is a *DigestError.
	CommitUpload(ctx context.Context, u UploadID, d digest.Digest) error
}

// An UploadRemover is an UploadStore that gives up uploads.
type UploadRemover interface {
	// CancelUpload ends an upload and forgets its content.
	CancelUpload(ctx context.Context, u UploadID) error
	// ExpireUploads cancels the uploads that last grew before t, and returns how many those were.
	ExpireUploads(ctx context.Context, t time.Time) (int, error)
}

// A BlobMounter is a Store that makes a blob of one repository known in another.
type BlobMounter interface {
	// MountBlob adds blob d of the repository from to repository. An empty from is any repository: the Server asks so
	// only where everybody may read everything.
	MountBlob(ctx context.Context, repository, from string, d digest.Digest) error
}

// A StoredManifest is a manifest to be put into a Store.
type StoredManifest struct {
	// Descriptor holds media type, digest and size, and the artifact type and annotations that a list of referrers
	// shows.
	Descriptor ocispec.Descriptor
	// Content is the manifest's bytes.
	Content []byte
	// Tags are the tags that from then on name it; none is fine.
	Tags []string
	// Subject is the digest of the manifest that this one is about; empty for most.
	Subject digest.Digest
}

// A ManifestPutter is a Store that manifests can be pushed to.
type ManifestPutter interface {
	// PutManifest stores a manifest, durably; a tag never names one that is not stored.
	PutManifest(ctx context.Context, repository string, m *StoredManifest) error
}

// A Deleter is a Store that forgets on request.
type Deleter interface {
	// DeleteManifest removes a manifest and the tags that name it.
	DeleteManifest(ctx context.Context, repository string, d digest.Digest) error
	// DeleteTag removes a tag, and not what it names.
	DeleteTag(ctx context.Context, repository, tag string) error
	// DeleteBlob removes a blob from one repository.
	DeleteBlob(ctx context.Context, repository string, d digest.Digest) error
}

var (
	// ErrUploadOffset is returned by an UploadStore when a chunk is not the next one.
	ErrUploadOffset = errors.New("chunk is out of order")
	// ErrUploadBusy is returned by an UploadStore while another request writes to the same upload.
	ErrUploadBusy = errors.New("upload is in use by another request")
)
