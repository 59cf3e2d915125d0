package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"

	"github.com/opencontainers/go-digest"
)

// A UsageReporter is a Store that knows how much a repository holds. Server.Quota needs it.
type UsageReporter interface {
	// Usage returns the sum of the sizes of a repository's blobs, manifests and uploads under way, in bytes; each counts
	// once, and in each repository that has it. A repository that does not exist has 0.
	Usage(ctx context.Context, repository string) (int64, error)
}

// quota returns a repository's quota in bytes.
func (s *Server) quota(repository string) (int64, bool) {
	if s.Quota == nil {
		return 0, false
	}
	n := s.Quota(repository)
	return n, n > 0
}

func quotaError(repository string, quota int64) *Error {
	return newAnswer(http.StatusForbidden, CodeDenied,
		fmt.Sprintf("repository %s may hold %d bytes, which this would be more than", repository, quota))
}

// room returns how many bytes a repository may take yet, negative when it has too many, and its quota; math.MaxInt64
// where it has none.
func (s *Server) room(ctx context.Context, repository string) (left, quota int64, err error) {
	quota, ok := s.quota(repository)
	if !ok {
		return math.MaxInt64, 0, nil
	}
	reporter, ok := s.store.(UsageReporter)
	if !ok {
		return 0, 0, errors.New("this registry's store cannot say how much a repository holds, which a quota takes")
	}
	used, err := reporter.Usage(ctx, repository)
	return quota - used, quota, err
}

// within calls add when the repository may take size bytes more. Who adds to repositories that have quotas does so one
// after the other, so that two together do not go beyond what each alone may. What the repository has already, as has
// says, takes none.
func (s *Server) within(ctx context.Context, q addition, add func() error) error {
	if _, ok := s.quota(q.repository); !ok {
		return add()
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	there, err := q.has()
	if err != nil {
		return err
	}
	left, quota, err := s.room(ctx, q.repository)
	if err != nil {
		return err
	}
	if !there && q.size > left {
		return quotaError(q.repository, quota)
	}
	return add()
}

// An addition is what a repository is to take.
type addition struct {
	repository string
	size       int64
	has        func() (bool, error)
}

// hasBlob says whether a repository has a blob.
func (s *Server) hasBlob(ctx context.Context, repository string, d digest.Digest) (bool, error) {
	b, err := s.store.Blob(ctx, repository, d)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, b.Close()
}

// commitUpload makes an upload, which counts already, a blob, or ends it when the repository may not take it.
func (s *Server) commitUpload(ctx context.Context, uploads UploadStore, id UploadID, d digest.Digest) error {
	q := addition{repository: id.Repository, has: func() (bool, error) { return s.hasBlob(ctx, id.Repository, d) }}
	committing := false
	err := s.within(ctx, q, func() error {
		committing = true
		return uploads.CommitUpload(ctx, id, d)
	})
	if err != nil && !committing {
		if remover, ok := s.store.(UploadRemover); ok {
			_ = remover.CancelUpload(ctx, id)
		}
	}
	return err
}
