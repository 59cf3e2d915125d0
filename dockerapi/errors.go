package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/moby/moby/api/types/common"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/network"
	"github.com/caisson-engine/caisson/registry"
	"github.com/caisson-engine/caisson/volume"
)

// An httpError is an error with the status that it is sent with.
type httpError struct {
	code int
	err  error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

func failure(code int, format string, args ...any) error {
	return &httpError{code, fmt.Errorf(format, args...)}
}

// badRequest is the error of a parameter that can never be right.
func badRequest(format string, args ...any) error {
	return failure(http.StatusBadRequest, format, args...)
}

// notImplemented refuses what Docker has and this engine has not, by its name: "HostConfig.Links".
func notImplemented(field string) error { return badRequest("not implemented: %s", field) }

var errInternal = &httpError{http.StatusInternalServerError, errors.New("internal error; the server's log has more")}

// status is the status of an error's answer.
func status(err error) int {
	var h *httpError
	var e *engine.Error
	var tooLarge *http.MaxBytesError
	var start *container.StartError
	switch {
	case errors.As(err, &h):
		return h.code
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &e):
		switch e.Kind {
		case engine.Invalid:
			return http.StatusBadRequest
		case engine.NotFound:
			return http.StatusNotFound
		case engine.Conflict:
			return http.StatusConflict
		}
	case errors.Is(err, errors.ErrUnsupported):
		return http.StatusNotImplemented
	case errors.Is(err, image.ErrNotFound), errors.Is(err, network.ErrNotFound), errors.Is(err, volume.ErrNotFound), errors.Is(err, registry.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, registry.ErrInvalidReference), errors.Is(err, image.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, image.ErrInUse), errors.Is(err, image.ErrConflict), errors.Is(err, network.ErrInUse), errors.Is(err, network.ErrExists):
		return http.StatusConflict
	case errors.As(err, &start): // a command that is not there, a limit that cannot be had
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// message is what a client is told: of the engine's own errors the message alone, as Docker's are.
func message(err error) string {
	var e *engine.Error
	var h *httpError
	if !errors.As(err, &h) && errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}

// fail sends an error, if nothing was sent yet; otherwise the connection ends without the end of the answer.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		s.log.Debug("client has gone", "method", r.Method, "path", r.URL.Path)
		return
	}
	code := status(err)
	if code >= http.StatusInternalServerError && code != http.StatusNotImplemented {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	} else {
		s.log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if a, ok := w.(*answer); ok && a.begun {
		if c, _, err := http.NewResponseController(a.ResponseWriter).Hijack(); err == nil {
			_ = c.Close()
		}
		return
	}
	_ = writeJSON(w, code, &common.ErrorResponse{Message: message(err)})
}
