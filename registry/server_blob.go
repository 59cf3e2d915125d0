package registry

import (
	"net/http"
	"time"
)

// getBlob answers GET and HEAD of a blob, ranges included (RFC 9110, section 14).
func (s *Server) getBlob(w http.ResponseWriter, r *http.Request, to route) error {
	blob, err := s.store.Blob(r.Context(), to.repository, to.digest)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", string(to.digest))
	h.Set("ETag", `"`+string(to.digest)+`"`)
	h.Set("Cache-Control", "max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, blob)
	return begin(blob.Close())
}

func (s *Server) deleteBlob(w http.ResponseWriter, r *http.Request, to route) error {
	deleter, ok := s.store.(Deleter)
	if !ok {
		return unsupported("this registry's store does not delete")
	}
	if err := deleter.DeleteBlob(r.Context(), to.repository, to.digest); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
