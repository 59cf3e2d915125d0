package dockerapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// FuzzRequests: no request has a handler panic, gets a redirection, or an answer with an error that is no JSON.
func FuzzRequests(f *testing.F) {
	testenv.RequireRoot(f)
	nowhere := roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no registry is asked") })
	e, err := engine.Open(f.Context(), f.TempDir(), &engine.Options{Client: &registry.Client{HTTP: &http.Client{Transport: nowhere}}})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, e.Close()) })
	_, err = e.CreateVolume("vol", nil)
	require.NoError(f, err)
	for _, target := range []string{
		"/_ping", "/v1.44/containers/json?filters={\"before\":[\"x\"]}&size=1", "/v1.24/images/a/b/c:d/json", "/v9.9/x", "/../x", "/info", "/version", "/networks/bridge",
		"/events?until=1&filters={\"type\":{\"container\":true}}", "/v1.41/images/json?filters={\"until\":[\"1h\"]}&manifests=1", "/system/df?type=image",
		"/containers/x/logs?stdout=1&since=1.5", "/containers/x/archive?path=/../x", "/images/get?names=a&names=b", "/volumes/vol", "/distribution/a/json",
	} {
		f.Add("GET", target, "")
		f.Add("DELETE", target, "")
		f.Add("POST", target, "{}")
	}
	for target, body := range map[string]string{
		"/containers/create?name=x": `{"Image":"nothing","HostConfig":{"Binds":["/a:/b"],"PortBindings":{"80/tcp":[{"HostPort":"1"}]},"Memory":-1}}`,
		"/containers/x/update":      `{"CpuQuota":-1,"RestartPolicy":{"Name":"always"}}`,
		"/containers/x/exec":        `{"Cmd":["a"],"Tty":true,"ConsoleSize":[1,2]}`,
		"/networks/create":          `{"Name":"n","IPAM":{"Config":[{"Subnet":"10.1.0.0/16","AuxiliaryAddresses":{"a":"10.1.0.1"}}]}}`,
		"/volumes/create":           `{"Name":"w","DriverOpts":{"size":"1m"}}`, "/networks/bridge/connect": `{"Container":"x","EndpointConfig":{"IPAMConfig":null}}`,
		"/auth": `{"serveraddress":"x","auth":"YTpi"}`, "/commit?container=x": `{"Cmd":["a"]}`, "/images/prune?filters={\"dangling\":[\"false\"]}": "",
		"/images/create?fromImage=a&tag=b": "", "/images/load": "tar", "/containers/x/resize?h=1&w=70000": "",
	} {
		f.Add("POST", target, body)
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		if strings.Contains(target, "fromSrc") { // which asks any server there is
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, "GET", "/", strings.NewReader(body))
		r.Method = method
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Registry-Auth", body)
		w := httptest.NewRecorder()
		(&Server{Engine: e}).ServeHTTP(w, r)
		switch {
		case strings.Contains(w.Body.String(), errInternal.Error()):
			t.Errorf("%s %q %q: a panic", method, target, body)
		case w.Code >= 300 && w.Code < 400:
			t.Errorf("%s %q: %d %s", method, target, w.Code, w.Header().Get("Location"))
		case w.Code >= 400 && w.Header().Get("Content-Type") != "application/json":
			t.Errorf("%s %q: %d %q", method, target, w.Code, w.Body.String())
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
