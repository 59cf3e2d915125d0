package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/registry"
)

// NewUpload implements registry.UploadStore.
func (v *Served) NewUpload(ctx context.Context, repository string) (registry.UploadID, error) {
	return v.uploads.NewUpload(ctx, repository)
}

// AppendUpload implements registry.UploadStore.
func (v *Served) AppendUpload(ctx context.Context, id registry.UploadID, offset int64, r io.Reader) (int64, error) {
	if r != nil {
		r = &ctxReader{ctx, r}
	}
	return v.uploads.AppendUpload(ctx, id, offset, r)
}

// CommitUpload implements registry.UploadStore.
func (v *Served) CommitUpload(ctx context.Context, id registry.UploadID, d digest.Digest) error {
	return v.uploads.Commit(id, d, func(path string) error {
		// Held before it is there, so that there is no moment at which it may be pruned.
		if err := v.s.hold(ctx, id.Repository, d); err != nil {
			return err
		}
		dst := v.s.blobPath(d)
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o644); err != nil { // as other blobs are
			return err
		}
		if err := os.Rename(path, dst); err != nil {
			return err
		}
		return v.s.syncBlobs()
	})
}

// CancelUpload implements registry.UploadRemover.
func (v *Served) CancelUpload(ctx context.Context, id registry.UploadID) error {
	return v.uploads.CancelUpload(ctx, id)
}

// ExpireUploads implements registry.UploadRemover. Blobs that no manifest came for are given up, too.
func (v *Served) ExpireUploads(ctx context.Context, t time.Time) (int, error) {
	n, err := v.uploads.ExpireUploads(ctx, t)
	pushed, perr := v.s.pushed()
	err = errors.Join(err, perr)
	for _, p := range pushed {
		if p.since.Before(t) {
			err = errors.Join(err, removeIfThere(v.s.pushedPath(p.Repository, p.Digest)))
		}
	}
	return n, err
}

// MountBlob implements registry.BlobMounter.
func (v *Served) MountBlob(ctx context.Context, repository, from string, d digest.Digest) error {
	if from == "" {
		return absent("blob", "any", d.String())
	}
	f, err := v.Blob(ctx, from, d)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := v.s.hold(ctx, repository, d); err != nil {
		return err
	}
	// It may have been deleted before it was held.
	if !exists(v.s.blobPath(d)) {
		return absent("blob", from, d.String())
	}
	return nil
}
