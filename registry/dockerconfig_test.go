package registry

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDockerCredentials(t *testing.T) {
	dir := t.TempDir()
	if runtime.GOOS != "windows" {
		self, err := os.Executable()
		require.NoError(t, err)
		require.NoError(t, os.Symlink(self, filepath.Join(dir, "docker-credential-played")))
		t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	path := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(path, []byte(`{
		"auths": {
			"plain.test:5000": {"auth": "YW5uOnMzOmNyZXQ="},
			"https://old.test/v1/": {"username": "bob", "password": "pw"},
			"token.test": {"identitytoken": "id", "registrytoken": "reg"},
			"bad.test": {"auth": "!!!"},
			"worse.test": {"auth": "YW5u"},
			"https://index.docker.io/v1/": {"auth": "aHViOnB3"}
		},
		"credHelpers": {
			"helped.test": "played", "unknown.test": "played", "broken.test": "played", "endless.test": "played",
			"missing.test": "no-such-helper", "path.test": "../../bin/sh"
		}
	}`), 0o600))
	get := DockerCredentials(path)
	for host, want := range map[string]Credential{
		"plain.test:5000": {Username: "ann", Password: "s3:cret"},
		"old.test":        {Username: "bob", Password: "pw"},
		"token.test":      {IdentityToken: "id", RegistryToken: "reg"},
		"docker.io":       {Username: "hub", Password: "pw"},
		"plain.test":      {},
		"nobody.test":     {},
	} {
		got, err := get(t.Context(), host)
		require.NoError(t, err, host)
		require.Equal(t, want, got, host)
	}
	for host, words := range map[string]string{
		"bad.test": "not base64", "worse.test": "not user:password", "missing.test": "docker-credential-no-such-helper", "path.test": "not a plain name",
	} {
		_, err := get(t.Context(), host)
		require.ErrorContains(t, err, words)
	}
	if runtime.GOOS == "windows" {
		return
	}
	got, err := get(t.Context(), "helped.test")
	require.NoError(t, err)
	require.Equal(t, Credential{Username: "ann", Password: "s3cret"}, got)
	got, err = get(t.Context(), "unknown.test")
	require.NoError(t, err)
	require.True(t, got.IsZero())
	_, err = get(t.Context(), "broken.test")
	require.ErrorContains(t, err, "out of")
	require.NotContains(t, err.Error(), "\x1b")
	_, err = get(t.Context(), "endless.test")
	require.Error(t, err)

	require.NoError(t, os.WriteFile(path, []byte(`{"auths": {"plain.test": {"auth": "YW5uOnB3"}}, "credsStore": "played"}`), 0o600))
	got, err = get(t.Context(), "docker.io")
	require.NoError(t, err)
	require.Equal(t, Credential{IdentityToken: "refresh-me"}, got)
	got, err = get(t.Context(), "plain.test")
	require.NoError(t, err)
	require.Equal(t, Credential{Username: "ann", Password: "pw"}, got)
}

func TestDockerCredentialsFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	got, err := DockerCredentials("")(t.Context(), "x.test")
	require.NoError(t, err)
	require.True(t, got.IsZero())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"x.test":{"auth":"YTpi"}}}`), 0o600))
	got, err = DockerCredentials("")(t.Context(), "x.test")
	require.NoError(t, err)
	require.Equal(t, Credential{Username: "a", Password: "b"}, got)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":"s3cret`), 0o600))
	_, err = DockerCredentials("")(t.Context(), "x.test")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "s3cret")
}
