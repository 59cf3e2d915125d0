package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/registry"
)

// A servedUpload is a blob that is being pushed.
type servedUpload struct {
	blob  *newBlob
	busy  bool
	grown time.Time
	size  atomic.Int64
}

// NewUpload implements registry.UploadStore.
func (v *Served) NewUpload(ctx context.Context, repository string) (registry.UploadID, error) {
	b, err := v.s.newBlob(ctx)
	if err != nil {
		return registry.UploadID{}, err
	}
	var r [16]byte
	_, _ = rand.Read(r[:]) // never fails
	r[6], r[8] = r[6]&0x0f|0x40, r[8]&0x3f|0x80
	id := registry.UploadID{Repository: repository, ID: fmt.Sprintf("%x-%x-%x-%x-%x", r[:4], r[4:6], r[6:8], r[8:10], r[10:])}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.uploads[id] = &servedUpload{blob: b, grown: time.Now()}
	return id, nil
}

// take reserves an upload for one request.
func (v *Served) take(id registry.UploadID) (*servedUpload, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	u := v.uploads[id]
	switch {
	case u == nil:
		return nil, absent("upload", id.Repository, id.ID)
	case u.busy:
		return nil, registry.ErrUploadBusy
	}
	u.busy = true
	return u, nil
}

func (v *Served) release(u *servedUpload) {
	v.mu.Lock()
	defer v.mu.Unlock()
	u.busy, u.grown = false, time.Now()
}

// end forgets an upload that was taken.
func (v *Served) end(id registry.UploadID, u *servedUpload) error {
	v.mu.Lock()
	delete(v.uploads, id)
	v.mu.Unlock()
	return u.blob.close()
}

// AppendUpload implements registry.UploadStore.
func (v *Served) AppendUpload(ctx context.Context, id registry.UploadID, offset int64, r io.Reader) (int64, error) {
	u, err := v.take(id)
	if err != nil {
		return 0, err
	}
	defer v.release(u)
	if offset >= 0 && offset != u.size.Load() {
		return u.size.Load(), registry.ErrUploadOffset
	}
	if r != nil {
		_, err = io.Copy(u.blob, &ctxReader{ctx, r})
		u.size.Store(u.blob.size)
	}
	return u.size.Load(), err
}

// CommitUpload implements registry.UploadStore.
func (v *Served) CommitUpload(ctx context.Context, id registry.UploadID, d digest.Digest) (err error) {
	u, err := v.take(id)
	if err != nil {
		return err
	}
	if err := v.commit(ctx, id.Repository, u, d); err != nil {
		var wrong *registry.DigestError
		if errors.As(err, &wrong) {
			return errors.Join(err, v.end(id, u))
		}
		v.release(u)
		return err
	}
	return v.end(id, u)
}

func (v *Served) commit(ctx context.Context, repository string, u *servedUpload, d digest.Digest) error {
	if err := u.blob.buf.Flush(); err != nil {
		return err
	}
	got := u.blob.sum.Digest()
	if d.Algorithm() != digest.Canonical {
		var err error
		if got, err = d.Algorithm().FromReader(io.NewSectionReader(u.blob.file, 0, u.blob.size)); err != nil {
			return err
		}
	}
	if got != d {
		return &registry.DigestError{Subject: "upload to " + repository, Want: d, Got: got}
	}
	if err := u.blob.file.Sync(); err != nil {
		return err
	}
	// Held before it is there, so that there is no moment at which it may be pruned.
	if err := v.hold(ctx, repository, d); err != nil {
		return err
	}
	dst := v.s.blobPath(d)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := os.Rename(u.blob.file.Name(), dst); err != nil {
		return err
	}
	return v.s.syncBlobs()
}

// hold keeps a blob for a repository until a manifest leads to it.
func (v *Served) hold(ctx context.Context, repository string, d digest.Digest) error {
	l, err := v.s.lease(ctx, leaseFile{Blobs: []digest.Digest{d}})
	if err != nil {
		return err
	}
	v.mu.Lock()
	old := v.pending[blobOf{repository, d}]
	v.pending[blobOf{repository, d}] = &pendingBlob{l, time.Now()}
	v.mu.Unlock()
	if old != nil {
		return old.lease.release()
	}
	return nil
}

// CancelUpload implements registry.UploadRemover.
func (v *Served) CancelUpload(_ context.Context, id registry.UploadID) error {
	u, err := v.take(id)
	if err != nil {
		return err
	}
	return v.end(id, u)
}

// ExpireUploads implements registry.UploadRemover. Blobs that no manifest came for are given up, too.
func (v *Served) ExpireUploads(_ context.Context, t time.Time) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	var err error
	for id, u := range v.uploads {
		if !u.busy && u.grown.Before(t) {
			delete(v.uploads, id)
			err = errors.Join(err, u.blob.close())
			n++
		}
	}
	for b, p := range v.pending {
		if p.since.Before(t) {
			delete(v.pending, b)
			err = errors.Join(err, p.lease.release())
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
	if err := v.hold(ctx, repository, d); err != nil {
		return err
	}
	// It may have been deleted before it was held.
	if !exists(v.s.blobPath(d)) {
		return absent("blob", from, d.String())
	}
	return nil
}
