package dockerapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
)

// readJSON reads a request's body. One that is empty leaves v as it is, if that is allowed.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, v any, mayBeEmpty bool) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, cmp.Or(s.MaxBody, DefaultMaxBody)))
	if err != nil {
		return err
	}
	if len(b) == 0 {
		if mayBeEmpty {
			return nil
		}
		return badRequest("invalid JSON: got EOF while reading request body")
	}
	// A form, or a text, is what a page can have a browser send without being asked.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return badRequest("unsupported Content-Type header (%s): must be 'application/json'", r.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal(b, v); err != nil {
		var field *json.UnmarshalTypeError
		if errors.As(err, &field) {
			return badRequest("invalid JSON: %s: %w", field.Field, err)
		}
		return badRequest("invalid JSON: %w", err)
	}
	return nil
}

// writeJSON sends an answer.
func writeJSON(w http.ResponseWriter, code int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // who does not want it has hung up
	return nil
}

// noContent is the answer of what was done and has nothing to say.
func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}
