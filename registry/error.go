package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
)

var (
	// ErrNotFound is returned when the registry or the store has no such repository, manifest, blob or upload. It
	// satisfies errors.Is(err, fs.ErrNotExist).
	ErrNotFound error = sentinel{"not found", fs.ErrNotExist}
	// ErrUnauthorized is returned when the registry wants credentials, or refused the ones it got (401). Docker Hub
	// also answers so for a repository that does not exist.
	ErrUnauthorized error = sentinel{"authentication required", fs.ErrPermission}
	// ErrDenied is returned when the credentials are not enough for what was asked (403).
	ErrDenied error = sentinel{"access denied", fs.ErrPermission}
	// ErrTooManyRequests is returned when the registry kept answering 429 after every retry.
	ErrTooManyRequests = errors.New("too many requests")
)

type sentinel struct {
	text string
	is   error
}

func (s sentinel) Error() string        { return s.text }
func (s sentinel) Is(target error) bool { return target == s.is }

// The error codes of the distribution specification.
const (
	CodeBlobUnknown         = "BLOB_UNKNOWN"
	CodeBlobUploadInvalid   = "BLOB_UPLOAD_INVALID"
	CodeBlobUploadUnknown   = "BLOB_UPLOAD_UNKNOWN"
	CodeDigestInvalid       = "DIGEST_INVALID"
	CodeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	CodeManifestInvalid     = "MANIFEST_INVALID"
	CodeManifestUnknown     = "MANIFEST_UNKNOWN"
	CodeNameInvalid         = "NAME_INVALID"
	CodeNameUnknown         = "NAME_UNKNOWN"
	CodeSizeInvalid         = "SIZE_INVALID"
	CodeUnauthorized        = "UNAUTHORIZED"
	CodeDenied              = "DENIED"
	CodeUnsupported         = "UNSUPPORTED"
	CodeTooManyRequests     = "TOOMANYREQUESTS"
)

// An Error is a registry's answer that is no success. A Client returns it; a Server sends one that its store or its
// Authorize hook returned as it is.
//
// errors.Is finds ErrNotFound in a 404, ErrUnauthorized in a 401, ErrDenied in a 403 and ErrTooManyRequests in a 429.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is one of the Code constants, or what else the registry said; it may be empty.
	Code string
	// Message is the registry's own text, made printable; it may be empty.
	Message string
	// Detail is arbitrary JSON that goes with the code; it may be nil.
	Detail json.RawMessage
	// Challenge is sent as WWW-Authenticate with a 401 by a Server. A Client leaves it empty.
	Challenge string

	// Subject is what was asked for, such as "localhost:5000/app:1". A Server leaves it empty.
	Subject string
	// Hint is advice about what to do; it may be empty.
	Hint string
}

// Error returns subject, meaning, the registry's words and the advice on one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Subject != "" {
		b.WriteString(e.Subject + ": ")
	}
	if s := e.sentinel(); s != nil {
		b.WriteString(s.Error())
	} else if text := http.StatusText(e.Status); text != "" {
		b.WriteString("the registry answered " + text)
	} else {
		b.WriteString("the registry's answer is not understood")
	}
	fmt.Fprintf(&b, " (%d", e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	b.WriteString(")")
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Is makes errors.Is find the sentinel of the status, and what that one satisfies.
func (e *Error) Is(target error) bool {
	s := e.sentinel()
	return s != nil && errors.Is(s, target)
}

func (e *Error) sentinel() error {
	switch e.Status {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrDenied
	case http.StatusTooManyRequests:
		return ErrTooManyRequests
	}
	return nil
}

// A DigestError is returned when content does not have the digest that it was asked by.
type DigestError struct {
	// Subject is what was read, such as "blob of localhost:5000/app".
	Subject string
	// Want is the digest asked for, Got that of the content that came.
	Want, Got digest.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: the content is not what it should be: wanted digest %s, got %s", e.Subject, e.Want, e.Got)
}

// wireErrors is the body of an error answer.
type wireErrors struct {
	Errors []wireError `json:"errors"`
}

type wireError struct {
	Code    string          `json:"code"`
	Message string          `json:"message,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}
