package registry

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A client that shows somebody's credential shows it to one registry, and not to a mirror that is asked before.
func TestClientAs(t *testing.T) {
	var mu sync.Mutex
	shown := map[string][]string{}
	listen := func(name string, status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			shown[name] = append(shown[name], r.Header.Get("Authorization"))
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	one, other, mirror := listen("one", http.StatusOK), listen("other", http.StatusOK), listen("mirror", http.StatusOK)
	c := newClient(t)
	c.Retries = -1
	c.Mirrors = map[string][]string{one: {"http://" + mirror}}
	c.Credentials = func(context.Context, string) (Credential, error) {
		return Credential{Username: "own", Password: "p"}, nil
	}

	as := c.As(one, Credential{Username: "u", Password: "p"})
	t.Cleanup(as.CloseIdleConnections)
	require.NoError(t, as.Ping(t.Context(), one))
	require.ErrorIs(t, as.Ping(t.Context(), other), ErrUnauthorized)
	_, _, _ = as.Manifest(t.Context(), parse(t, one+"/a:1"))
	want := Credential{Username: "u", Password: "p"}.basic()
	require.Contains(t, shown["one"], want)
	for _, name := range []string{"other", "mirror"} {
		require.NotEmpty(t, shown[name])
		for _, h := range shown[name] {
			require.Empty(t, h, name)
		}
	}
	require.NoError(t, c.Ping(t.Context(), other), "the client itself is as it was")
}

// Every setting is that of the client, so that a new one is not forgotten; but cookies are somebody's.
func TestClientAsHasAllSettings(t *testing.T) {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	c := &Client{
		HTTP: &http.Client{Transport: &http.Transport{}, Jar: jar, Timeout: 7}, Mirrors: map[string][]string{"a": nil}, Insecure: []string{"b"}, CertsDir: "c", UserAgent: "d",
		MaxManifestSize: 1, Retries: 2, ResponseTimeout: 3, StallTimeout: 4, Ranges: 5, ChunkSize: 6,
	}
	as := c.As("x", Credential{})
	require.Nil(t, as.HTTP.Jar)
	require.Equal(t, jar, c.HTTP.Jar)
	as.HTTP.Jar = jar
	have, want := reflect.ValueOf(as).Elem(), reflect.ValueOf(c).Elem()
	for i := range want.NumField() {
		if f := want.Type().Field(i); f.IsExported() && f.Name != "Credentials" {
			require.False(t, want.Field(i).IsZero(), "%s is not tried", f.Name)
			require.Equal(t, want.Field(i).Interface(), have.Field(i).Interface(), f.Name)
		}
	}
}

func TestHostOf(t *testing.T) {
	for address, want := range map[string]string{
		"": "docker.io", "docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
		"localhost:5000": "localhost:5000", "http://r.example:5000/v2/": "r.example:5000", "r.example/app": "r.example",
	} {
		require.Equal(t, want, HostOf(address), address)
	}
}
