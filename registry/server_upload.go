package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var noUploads = unsupported("this registry's store takes no blobs")

// postUpload begins an upload, or does all of it: by mounting, or with the body and ?digest=.
func (s *Server) postUpload(w http.ResponseWriter, r *http.Request, to route) error {
	uploads, ok := s.store.(UploadStore)
	if !ok {
		return noUploads
	}
	query := r.URL.Query()
	if a := query.Get("digest-algorithm"); a != "" && !digest.Algorithm(a).Available() {
		return newAnswer(http.StatusBadRequest, CodeDigestInvalid, "unknown digest algorithm")
	}
	if query.Has("mount") {
		d, err := parseDigest(query.Get("mount"))
		if err != nil {
			return err
		}
		mounted, err := s.mount(r, to, query.Get("from"), d)
		if err != nil {
			return err
		}
		if mounted {
			created(w, to, d)
			return nil
		}
	}
	var d digest.Digest
	if query.Has("digest") {
		var err error
		if d, err = parseDigest(query.Get("digest")); err != nil {
			return err
		}
	}
	id, err := uploads.NewUpload(r.Context(), to.repository)
	if err != nil {
		return err
	}
	if d == "" {
		s.uploadStatus(w, to, id.ID, 0)
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	if _, err = s.appendUpload(w, r, id, 0); err == nil {
		err = s.commitUpload(r.Context(), uploads, id, d)
	}
	if err != nil {
		s.cancel(r.Context(), id) // gone already after a wrong digest
		return err
	}
	created(w, to, d)
	return nil
}

func (s *Server) cancel(ctx context.Context, id UploadID) {
	if remover, ok := s.store.(UploadRemover); ok {
		_ = remover.CancelUpload(context.WithoutCancel(ctx), id)
	}
}

// full cancels an upload that there is no space for: what is there of it would keep the disk full until it expires.
func (s *Server) full(ctx context.Context, id UploadID, err error) error {
	if isFull(err) {
		s.cancel(ctx, id)
	}
	return err
}

// mount tries to take a blob from another repository that the request may read. The error is that of a quota.
func (s *Server) mount(r *http.Request, to route, from string, d digest.Digest) (bool, error) {
	mounter, ok := s.store.(BlobMounter)
	if !ok || from == "" && s.Authorize != nil {
		return false, nil
	}
	if from != "" && (!validRepository(from) || s.authorize(r, from, ActionPull) != nil) {
		return false, nil
	}
	q := addition{repository: to.repository, has: func() (bool, error) { return s.hasBlob(r.Context(), to.repository, d) }}
	if _, ok := s.quota(to.repository); ok {
		size, err := s.sizeOf(r.Context(), from, child{ocispec.Descriptor{Digest: d}, false})
		if from == "" || err != nil {
			return false, nil // it is to be sent, and counted then
		}
		q.size = size
	}
	mounted := false
	err := s.within(r.Context(), q, func() error {
		mounted = mounter.MountBlob(r.Context(), to.repository, from, d) == nil
		return nil
	})
	return mounted, err
}

func created(w http.ResponseWriter, to route, d digest.Digest) {
	w.Header().Set("Location", to.link("blobs", string(d)))
	w.Header().Set("Docker-Content-Digest", string(d))
	w.WriteHeader(http.StatusCreated)
}

// uploadStatus says in the header where the upload stands.
func (s *Server) uploadStatus(w http.ResponseWriter, to route, id string, size int64) {
	h := w.Header()
	h.Set("Location", to.link("blobs/uploads", id))
	h.Set("Range", fmt.Sprintf("0-%d", max(0, size-1))) // an empty upload cannot be told from one byte: so it is
	h.Set("Docker-Upload-UUID", id)
}

func (s *Server) getUpload(w http.ResponseWriter, r *http.Request, to route) error {
	uploads, ok := s.store.(UploadStore)
	if !ok {
		return noUploads
	}
	size, err := uploads.AppendUpload(r.Context(), UploadID{to.repository, to.name}, -1, nil)
	if err != nil {
		return err
	}
	s.uploadStatus(w, to, to.name, size)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) deleteUpload(w http.ResponseWriter, r *http.Request, to route) error {
	remover, ok := s.store.(UploadRemover)
	if !ok {
		return unsupported("this registry's store does not cancel uploads")
	}
	if err := remover.CancelUpload(r.Context(), UploadID{to.repository, to.name}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// patchUpload takes a chunk.
func (s *Server) patchUpload(w http.ResponseWriter, r *http.Request, to route) error {
	size, err := s.takeChunk(w, r, to)
	if err != nil {
		return err
	}
	s.uploadStatus(w, to, to.name, size)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// putUpload takes the last chunk, if there is one, and makes the upload a blob.
func (s *Server) putUpload(w http.ResponseWriter, r *http.Request, to route) error {
	uploads, ok := s.store.(UploadStore)
	if !ok {
		return noUploads
	}
	d, err := parseDigest(r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	if r.ContentLength != 0 || r.Header.Get("Content-Range") != "" {
		if _, err := s.takeChunk(w, r, to); err != nil {
			return err
		}
	}
	id := UploadID{to.repository, to.name}
	if err := s.commitUpload(r.Context(), uploads, id, d); err != nil {
		return s.full(r.Context(), id, err)
	}
	created(w, to, d)
	return nil
}

// takeChunk appends the request's body, at the place that Content-Range names.
func (s *Server) takeChunk(w http.ResponseWriter, r *http.Request, to route) (int64, error) {
	id := UploadID{to.repository, to.name}
	offset, length, err := contentRange(r)
	if err != nil {
		return 0, err
	}
	if length >= 0 {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r.Body, length), r.Body}
	}
	size, err := s.appendUpload(w, r, id, offset)
	if errors.Is(err, ErrUploadOffset) {
		s.uploadStatus(w, to, to.name, size)
		return size, &Error{
			Status: http.StatusRequestedRangeNotSatisfiable, Code: CodeBlobUploadInvalid,
			Message: fmt.Sprintf("chunk is out of order: the next byte is number %d", size),
		}
	}
	return size, s.full(r.Context(), id, err)
}

// contentRange reads the header of a chunk, "first-last"; offset and length are -1 when there is none.
func contentRange(r *http.Request) (offset, length int64, err error) {
	s := r.Header.Get("Content-Range")
	if s == "" {
		return -1, -1, nil
	}
	invalid := newAnswer(http.StatusBadRequest, CodeBlobUploadInvalid, "Content-Range is not of the form first-last")
	from, to, ok := strings.Cut(s, "-")
	if !ok || !isDigits(from) || !isDigits(to) {
		return 0, 0, invalid
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if err1 != nil || err2 != nil || last < first || last-first == 1<<63-1 {
		return 0, 0, invalid
	}
	length = last - first + 1
	if r.ContentLength >= 0 && r.ContentLength != length {
		return 0, 0, newAnswer(http.StatusBadRequest, CodeSizeInvalid, "Content-Range and Content-Length differ")
	}
	return first, length, nil
}

// appendUpload adds a request's body to an upload, within the bound of a blob's size.
func (s *Server) appendUpload(w http.ResponseWriter, r *http.Request, id UploadID, offset int64) (int64, error) {
	uploads, ok := s.store.(UploadStore)
	if !ok {
		return 0, noUploads
	}
	size, err := uploads.AppendUpload(r.Context(), id, offset, nil)
	if err != nil {
		return size, err
	}
	left, quota, err := s.room(r.Context(), id.Repository)
	if err != nil {
		return size, err
	}
	limit := or(s.MaxBlobSize, DefaultMaxBlobSize) - size
	if left < limit {
		if limit = left; limit < 0 || r.ContentLength > limit {
			return size, quotaError(id.Repository, quota)
		}
	}
	if r.ContentLength > limit {
		return size, &http.MaxBytesError{Limit: max(0, limit)}
	}
	body := s.body(w, r, limit)
	size, err = uploads.AppendUpload(r.Context(), id, size, body)
	return size, body.blame(err)
}

// A requestBody is a request's body: bounded in size, and in the time that it may stand still.
type requestBody struct {
	r       io.Reader
	control *http.ResponseController
	timeout time.Duration
	err     error // what reading failed with
}

func (s *Server) body(w http.ResponseWriter, r *http.Request, limit int64) *requestBody {
	return &requestBody{
		r: http.MaxBytesReader(w, r.Body, max(0, limit)), control: http.NewResponseController(w),
		timeout: or(s.BodyTimeout, DefaultBodyTimeout),
	}
}

func (b *requestBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.timeout)) // what is no net/http server may not know deadlines
	n, err := b.r.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	} else if err != nil {
		b.err = err // the deadline stays, for net/http reads on before it answers
	}
	return n, err
}

// blame returns the error of a use of the body, as the client's fault where it was the client's.
func (b *requestBody) blame(err error) error {
	var tooLarge *http.MaxBytesError
	if err == nil || b.err == nil || errors.As(b.err, &tooLarge) {
		return err
	}
	return newAnswer(http.StatusBadRequest, CodeBlobUploadInvalid, "the request's body ended early")
}
