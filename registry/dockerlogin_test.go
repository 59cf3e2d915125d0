package registry

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDockerLogin(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "config.json")
	ann := Credential{Username: "ann", Password: "s3:cret"}
	require.NoError(t, SaveDockerCredential(t.Context(), path, "a.test:5000", ann))
	require.NoError(t, SaveDockerCredential(t.Context(), path, "docker.io", Credential{IdentityToken: "id"}))
	get := DockerCredentials(path)
	got, err := get(t.Context(), "a.test:5000")
	require.NoError(t, err)
	require.Equal(t, ann, got)
	got, err = get(t.Context(), "docker.io")
	require.NoError(t, err)
	require.Equal(t, Credential{IdentityToken: "id"}, got)
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	found, err := EraseDockerCredential(t.Context(), path, "docker.io")
	require.NoError(t, err)
	require.True(t, found)
	found, err = EraseDockerCredential(t.Context(), path, "docker.io")
	require.NoError(t, err)
	require.False(t, found)
	require.ErrorIs(t, SaveDockerCredential(t.Context(), path, "a/b", ann), ErrInvalidReference)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, `{"auths":{"a.test:5000":{"auth":"YW5uOnMzOmNyZXQ="}}}`, string(b))
}

// TestDockerLoginKeeps: what else config.json holds stays, and a link to it too.
func TestDockerLoginKeeps(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(dir, "docker-credential-played")))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	told := filepath.Join(dir, "told")
	t.Setenv("PLAYED", told)
	real, path := filepath.Join(dir, "real.json"), filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(real, []byte(`{"proxies":{"default":{}},"auths":{"https://old.test/v1/":{"auth":"x","extra":1}},
		"credHelpers":{"helped.test":"played","broken.test":"played","bad.test":"../x"}}`), 0o600))
	require.NoError(t, os.Symlink(real, path))
	require.NoError(t, SaveDockerCredential(t.Context(), path, "helped.test", Credential{Username: "ann", Password: "pw"}))
	b, err := os.ReadFile(told)
	require.NoError(t, err)
	require.Equal(t, `store {"Secret":"pw","ServerURL":"helped.test","Username":"ann"}`, string(b))
	err = SaveDockerCredential(t.Context(), path, "helped.test", Credential{RegistryToken: "t"})
	require.ErrorIs(t, err, errors.ErrUnsupported, "it would be lost")
	_, err = EraseDockerCredential(t.Context(), path, "helped.test")
	require.NoError(t, err)
	b, err = os.ReadFile(told)
	require.NoError(t, err)
	require.Equal(t, "erase helped.test", string(b))
	for host, words := range map[string]string{"broken.test": "order", "bad.test": "not a plain name"} {
		require.ErrorContains(t, SaveDockerCredential(t.Context(), path, host, Credential{}), words)
		_, err := EraseDockerCredential(t.Context(), path, host)
		require.ErrorContains(t, err, words)
	}
	found, err := EraseDockerCredential(t.Context(), path, "old.test")
	require.NoError(t, err)
	require.True(t, found)
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
	var all map[string]any
	b, err = os.ReadFile(real)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &all))
	require.Contains(t, all, "proxies")
	require.Len(t, all["credHelpers"], 3)
	require.Empty(t, all["auths"])
	require.NoError(t, os.WriteFile(real, []byte(`{"auths":"secret"}`), 0o600))
	err = SaveDockerCredential(t.Context(), path, "a.test", Credential{})
	require.ErrorContains(t, err, "not a Docker configuration")
	require.NotContains(t, err.Error(), "secret")
}
