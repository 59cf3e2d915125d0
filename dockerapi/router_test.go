package dockerapi

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/common"
	"github.com/stretchr/testify/require"
)

// ask sends a request to a server without an engine.
func ask(t *testing.T, s *Server, method, target string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/", nil)
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// requireError checks the status and the message of an answer.
func requireError(t *testing.T, w *httptest.ResponseRecorder, code int, text string) {
	t.Helper()
	require.Equal(t, code, w.Code, w.Body.String())
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	e := &common.ErrorResponse{}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), e))
	require.Contains(t, e.Message, text)
}

func TestVersionNegotiation(t *testing.T) {
	s := &Server{Version: "1.2.3"}
	for _, target := range []string{"/_ping", "/v1.24/_ping", "/v1.44/_ping", "/v" + MaxVersion + "/_ping", "/v1.44/_ping/"} {
		w := ask(t, s, "GET", target, nil)
		require.Equal(t, http.StatusOK, w.Code, target)
		require.Equal(t, "OK", w.Body.String())
		h := w.Header()
		require.Equal(t, MaxVersion, h.Get("Api-Version"))
		require.Equal(t, "false", h.Get("Docker-Experimental"))
		require.Equal(t, "linux", h.Get("Ostype"))
		require.Equal(t, "caisson/1.2.3 (linux)", h.Get("Server"))
		require.Equal(t, "1", h.Get("Builder-Version"))
	}
	require.Equal(t, http.StatusOK, ask(t, s, "HEAD", "/_ping", nil).Code)
	requireError(t, ask(t, s, "GET", "/v1.99/_ping", nil), 400, "client version 1.99 is too new. Maximum supported API version is "+MaxVersion)
	requireError(t, ask(t, s, "GET", "/v1.23/_ping", nil), 400, "client version 1.23 is too old. Minimum supported API version is 1.24")
	for _, target := range []string{
		"/", "/v1.44", "/v1.44/", "/nothing", "/v2.0/_ping", "/v1.044/_ping", "/v1/_ping", "//_ping", "/x/../_ping", "/v1.44//_ping", "/v1.44/v1.44/_ping", "/_ping/x",
	} {
		requireError(t, ask(t, s, "GET", target, nil), 404, "page not found")
	}
	requireError(t, ask(t, s, "POST", "/_ping", nil), 404, "page not found")
	requireError(t, ask(t, s, "GET", "/v1.44/swarm", nil), 501, "not implemented: swarm")
}

// TestPages: no web page gets anything done, whatever leads it here.
func TestPages(t *testing.T) {
	s := &Server{Hosts: []string{"docker.example"}}
	over := func(network, host string) func(*http.Request) {
		return func(r *http.Request) {
			var a net.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2375}
			if network == "unix" {
				a = &net.UnixAddr{Name: "/run/x", Net: "unix"}
			}
			*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, a))
			r.Host = host
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:2375", "127.0.0.1", "127.0.0.1:2375", "[::1]:2375", "::1", "docker.example:1"} {
		require.Equal(t, 200, ask(t, s, "GET", "/_ping", over("tcp", host)).Code, host)
	}
	for _, host := range []string{"attacker.example", "attacker.example:2375", "localhost.attacker.example", "127.0.0.1.attacker.example", ""} {
		requireError(t, ask(t, s, "GET", "/_ping", over("tcp", host)), 403, "is refused")
		require.Equal(t, 200, ask(t, s, "GET", "/_ping", over("unix", host)).Code, host)
	}
	for name, value := range map[string]string{"Origin": "null", "Sec-Fetch-Site": "same-origin"} {
		requireError(t, ask(t, s, "GET", "/_ping", func(r *http.Request) { r.Header.Set(name, value) }), 403, "requests of web pages are refused")
	}
	require.Equal(t, 200, ask(t, s, "GET", "/_ping", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") }).Code)
}

func TestPanic(t *testing.T) {
	s := &Server{}
	s.init()
	s.handle("GET /panic", func(http.ResponseWriter, *http.Request) error { panic("a secret") })
	w := ask(t, s, "GET", "/panic", nil)
	requireError(t, w, 500, "internal error")
	require.NotContains(t, w.Body.String(), "secret")
}

func TestReadJSON(t *testing.T) {
	s := &Server{MaxBody: 20}
	s.init()
	s.handle("POST /read", func(w http.ResponseWriter, r *http.Request) error {
		v := struct{ N int }{}
		if err := s.readJSON(w, r, &v, r.URL.RawQuery != ""); err != nil {
			return err
		}
		return noContent(w)
	})
	post := func(kind, body, query string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/read"+query, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, 204, post("application/json; charset=utf-8", `{"N":1}`, "").Code)
	require.Equal(t, 204, post("", "", "?empty").Code)
	requireError(t, post("application/json", "", ""), 400, "EOF")
	requireError(t, post("text/plain", `{"N":1}`, ""), 400, "unsupported Content-Type")
	requireError(t, post("application/json", `{"N":"x"}`, ""), 400, "invalid JSON: N")
	requireError(t, post("application/json", `{"N":1} {`, ""), 400, "invalid JSON")
	requireError(t, post("application/json", `{"N":1}`+strings.Repeat(" ", 20), ""), 413, "too large")
}

func TestFilters(t *testing.T) {
	of := func(text string) (filters, error) {
		return query{map[string][]string{"filters": {text}}}.filters("label", "name")
	}
	for _, text := range []string{`{"label":{"a=b":true,"c":true,"d":false}}`, `{"label":["a=b","c"]}`} {
		f, err := of(text)
		require.NoError(t, err)
		require.Equal(t, filters{"label": {"a=b", "c"}}, f)
		require.True(t, f.labels(map[string]string{"a": "b", "c": "x"}))
		require.False(t, f.labels(map[string]string{"a": "x", "c": "x"}))
		require.False(t, f.labels(nil))
		require.True(t, f.allows("name", nil))
	}
	for _, text := range []string{"x", `{"other":["a"]}`, `{"label":1}`, "[]"} {
		_, err := of(text)
		require.Error(t, err, text)
	}
}
