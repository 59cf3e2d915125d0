package dockerapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAuthorize: whoever refuses is asked about everything, whatever way the client writes it, with the endpoint that would answer.
func TestAuthorize(t *testing.T) {
	var asked []string
	s := &Server{Authorize: func(r *http.Request, endpoint string) error {
		asked = append(asked, r.URL.Path+" "+endpoint)
		return errors.New("not today: " + endpoint)
	}}
	for _, x := range []struct{ method, path, want, endpoint string }{
		{"GET", "/_ping", "/_ping", "GET /_ping"},
		{"HEAD", "/v1.30/_ping", "/_ping", "GET /_ping"},
		{"POST", "/v1.44/containers/create?name=x", "/containers/create", "POST /containers/create"},
		{"DELETE", "/containers/x/", "/containers/x", "DELETE /containers/{name}"},
		{"GET", "/nothing", "/nothing", "/"},
	} {
		asked = nil
		w := ask(t, s, x.method, x.path, nil)
		require.Equal(t, http.StatusForbidden, w.Code)
		require.Len(t, asked, 1, x.path)
		path, endpoint, _ := strings.Cut(asked[0], " ")
		require.Equal(t, x.want, path)
		require.Equal(t, x.endpoint, endpoint)
		requireError(t, w, http.StatusForbidden, "not today: "+x.endpoint)
	}
	asked = nil
	requireError(t, ask(t, s, "GET", "/v1.44/../info", nil), http.StatusNotFound, "") // no path of an endpoint's
	require.Empty(t, asked)

	s = &Server{Version: "1", Authorize: func(*http.Request, string) error { return nil }}
	require.Equal(t, http.StatusOK, ask(t, s, "GET", "/_ping", nil).Code)
}
