package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

const maxErrorBody = 64 << 10 // bytes read of an error answer

// describe wraps a request's error with what was asked and what to do about it.
func describe(e *endpoint, q *request, err error) error {
	var urlError *url.Error
	if errors.As(err, &urlError) {
		err = urlError.Err // its text repeats the address, which may hold a signature
	}
	where := e.String()
	if hint := hintFor(e, err); hint != "" {
		return fmt.Errorf("%s: %s: %w; %s", q.subject, where, err, hint)
	}
	return fmt.Errorf("%s: %s: %w", q.subject, where, err)
}

func hintFor(e *endpoint, err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var stall *stallError
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return "" // says all there is to say
	case errors.As(err, &dns) && dns.IsNotFound:
		return "check the host's name and this machine's DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check the address and that the registry runs"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return "it does not speak HTTPS: if you trust the network up to it, list " + e.host + " as an insecure registry"
	case errors.As(err, &certificate):
		return "its certificate is not trusted: install the authority that signed it, or list " + e.host +
			" as an insecure registry"
	case errors.As(err, &stall):
		return "the registry is overloaded or the network is broken: try again later"
	case errors.Is(err, context.DeadlineExceeded):
		return "the time allowed for it is over"
	}
	return ""
}

// answerError makes an Error of an answer that is no success, and closes it.
func (c *Client) answerError(ctx context.Context, e *endpoint, q *request, resp *http.Response) error {
	defer resp.Body.Close()
	out := &Error{Status: resp.StatusCode, Subject: q.subject + ": " + e.String()}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var wire wireErrors
	if json.Unmarshal(body, &wire) == nil && len(wire.Errors) > 0 {
		first := wire.Errors[0]
		out.Code, out.Message = printable(first.Code), printable(first.Message)
		if len(first.Detail) <= 4<<10 {
			out.Detail = first.Detail
		}
	} else if mediaTypeOnly(resp.Header.Get("Content-Type")) == "text/plain" {
		out.Message = printable(string(body))
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		out.Hint = c.authHint(ctx, e, resp)
	case http.StatusTooManyRequests:
		out.Hint = "the registry limits requests: wait, or log in for a higher limit"
	case http.StatusBadRequest:
		if resp.Request.URL.Scheme == "http" && len(wire.Errors) == 0 {
			out.Hint = "perhaps it speaks HTTPS only"
		}
	}
	return out
}

func (c *Client) authHint(ctx context.Context, e *endpoint, resp *http.Response) string {
	if !sameOrigin(resp.Request.URL, e.url(resp.Request.URL.Scheme, "", nil)) {
		return fmt.Sprintf("credentials for %s are not sent to %s, where it led to", e.name,
			printable(resp.Request.URL.Host))
	}
	credential, err := c.credential(ctx, e.name)
	switch {
	case err != nil:
		return "no credential to be had: " + err.Error()
	case credential.IsZero():
		return "no credential for " + e.name + " is at hand: log in to it first"
	case credential.Username != "":
		return fmt.Sprintf("the credential of user %q is not enough: check the password, or ask for access",
			credential.Username)
	}
	return "the token at hand is not enough: log in again"
}
