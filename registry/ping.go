package registry

import (
	"context"
	"net/http"
)

// Ping asks whether a registry speaks this protocol and accepts the credential for it. Host is as references name it:
// "docker.io", "localhost:5000". Mirrors are not asked.
func (c *Client) Ping(ctx context.Context, host string) error {
	if !validHost(host) {
		return refuse("%w: registry host %q", ErrInvalidReference, printable(host))
	}
	e := c.upstream(host)
	q := &request{method: http.MethodGet, subject: host}
	resp, err := c.do(ctx, &e, q)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		drain(resp)
		return nil
	case http.StatusNotFound:
		err := c.answerError(ctx, &e, q, resp).(*Error)
		err.Hint = "there is a web server, but no registry"
		return err
	}
	return c.answerError(ctx, &e, q, resp)
}
