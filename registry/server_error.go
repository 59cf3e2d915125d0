package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"syscall"
)

var errNotImplemented = fmt.Errorf("not implemented by this store: %w", errors.ErrUnsupported)

func newAnswer(status int, code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

func unsupported(message string) *Error {
	return newAnswer(http.StatusMethodNotAllowed, CodeUnsupported, message)
}

// codeNotFound is what is missing when a store says that something is.
func (t route) codeNotFound() string {
	switch t.kind {
	case routeBlob:
		return CodeBlobUnknown
	case routeUpload, routeUploads:
		return CodeBlobUploadUnknown
	case routeManifest:
		return CodeManifestUnknown
	}
	return CodeNameUnknown
}

// answerFor translates an error of a store or a hook.
func (s *Server) answerFor(to route, err error) *Error {
	var answer *Error
	var wrong *DigestError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &answer):
		copied := *answer
		return &copied
	case errors.As(err, &wrong):
		return newAnswer(http.StatusBadRequest, CodeDigestInvalid, wrong.Error())
	case errors.As(err, &tooLarge):
		message := fmt.Sprintf("no more than %d bytes more are taken", tooLarge.Limit)
		return newAnswer(http.StatusRequestEntityTooLarge, CodeSizeInvalid, message)
	case errors.Is(err, ErrUnauthorized):
		return newAnswer(http.StatusUnauthorized, CodeUnauthorized, ErrUnauthorized.Error())
	case errors.Is(err, ErrDenied):
		return newAnswer(http.StatusForbidden, CodeDenied, ErrDenied.Error())
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Status: http.StatusNotFound, Code: to.codeNotFound(), Message: "not known to this registry"}
	case errors.Is(err, ErrUploadBusy):
		return newAnswer(http.StatusConflict, CodeBlobUploadInvalid, err.Error())
	case isFull(err):
		return newAnswer(http.StatusInsufficientStorage, "UNKNOWN", "the registry's file system is full")
	case errors.Is(err, errors.ErrUnsupported):
		return unsupported(err.Error())
	}
	return &Error{Status: http.StatusInternalServerError, Code: "UNKNOWN", Message: "internal error"}
}

// isFull says whether the store has no space, or no more than it may take.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// fail sends an error. Where the answer has begun already there is nothing more to send, and the client sees its end
// missing.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, to route, err error) {
	var begun *begunError
	if errors.As(err, &begun) {
		if s.Log != nil {
			s.Log.WarnContext(r.Context(), "registry answer cut off",
				"method", r.Method, "path", r.URL.Path, "error", err)
		}
		return
	}
	answer := s.answerFor(to, err)
	if s.Log != nil {
		log := s.Log.DebugContext
		if answer.Status >= 500 {
			log = s.Log.ErrorContext
		}
		log(r.Context(), "registry request failed",
			"method", r.Method, "path", r.URL.Path, "status", answer.Status, "error", err)
	}
	h := w.Header()
	switch answer.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", or(answer.Challenge, or(s.Challenge, `Basic realm="registry"`)))
	case http.StatusMethodNotAllowed:
		h.Set("Allow", s.allowed(to))
	}
	body, _ := json.Marshal(wireErrors{[]wireError{{answer.Code, answer.Message, answer.Detail}}})
	h.Set("Content-Type", "application/json")
	w.WriteHeader(answer.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func (s *Server) allowed(to route) string {
	var methods []string
	for m := range handlers[to.kind] {
		if !s.ReadOnly || to.action(m) == ActionPull || to.kind == routeBase {
			methods = append(methods, m)
		}
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// A begunError happened while the body of an answer was being sent.
type begunError struct{ err error }

func (e *begunError) Error() string { return e.err.Error() }
func (e *begunError) Unwrap() error { return e.err }
