package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caisson-engine/caisson/registry"
)

// newAuthRegistry starts an empty registry that ann may use with the password secret, and returns its host.
func newAuthRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(&registry.Server{Authorize: func(r *http.Request, _, _ string) error {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "secret" {
			return registry.ErrUnauthorized
		}
		return nil
	}})
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
