package registry

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
)

// NewUpload implements UploadStore.
func (s *FolderStore) NewUpload(ctx context.Context, repository string) (UploadID, error) {
	return s.uploads.NewUpload(ctx, repository)
}

// AppendUpload implements UploadStore.
func (s *FolderStore) AppendUpload(ctx context.Context, u UploadID, offset int64, r io.Reader) (int64, error) {
	return s.uploads.AppendUpload(ctx, u, offset, r)
}

// CommitUpload implements UploadStore.
func (s *FolderStore) CommitUpload(ctx context.Context, u UploadID, d digest.Digest) error {
	return s.uploads.Commit(u, d, func(path string) error {
		lock, err := s.lock(ctx, false)
		if err != nil {
			return err
		}
		defer lock.Close()
		to := s.blobPath(d)
		if err := makeDirs(filepath.Dir(to)); err != nil {
			return err
		}
		if err := os.Rename(path, to); err != nil {
			return err
		}
		if err := durable.SyncDir(filepath.Dir(to)); err != nil {
			return err
		}
		return mark(s.blobLink(u.Repository, d))
	})
}

// CancelUpload implements UploadRemover.
func (s *FolderStore) CancelUpload(ctx context.Context, u UploadID) error {
	return s.uploads.CancelUpload(ctx, u)
}

// ExpireUploads implements UploadRemover.
func (s *FolderStore) ExpireUploads(ctx context.Context, t time.Time) (int, error) {
	return s.uploads.ExpireUploads(ctx, t)
}
