package engine

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

// A call's credential is shown to its registry; without one the registry does not answer.
func TestCredentials(t *testing.T) {
	e := newEngine(t)
	cred := registry.Credential{Username: "u", Password: "secret"}
	server := httptest.NewServer(&registry.Server{Authorize: func(r *http.Request, _, _ string) error {
		if name, password, _ := r.BasicAuth(); name == cred.Username && password == cred.Password {
			return nil
		}
		return registry.ErrUnauthorized
	}})
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	require.NoError(t, e.Login(t.Context(), host, cred))
	require.ErrorIs(t, e.Login(t.Context(), host, registry.Credential{Username: "u", Password: "x"}), registry.ErrUnauthorized)

	name := serve(t, e, "app", testimage.New(t, ocispec.ImageConfig{}, testimage.Layer{{Name: "a", Content: []byte("a")}}))
	to := host + "/app:1"
	require.NoError(t, e.Tag(t.Context(), name, to))
	_, err := e.Push(t.Context(), to, nil)
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	d, err := e.Push(t.Context(), to, &PushOptions{Credential: cred})
	require.NoError(t, err)

	_, err = e.RemoteImage(t.Context(), to, registry.Credential{})
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	remote, err := e.RemoteImage(t.Context(), to, cred)
	require.NoError(t, err)
	require.Equal(t, d, remote.Descriptor.Digest)
	require.Len(t, remote.Platforms, 1)
	require.Equal(t, "linux", remote.Platforms[0].OS)

	tags, err := e.Tags(t.Context(), host+"/app", cred)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, tags)
	_, err = e.RemoveImage(t.Context(), to, nil)
	require.NoError(t, err)
	_, err = e.Pull(t.Context(), to, nil)
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	img, err := e.Pull(t.Context(), to, &PullOptions{Credential: cred})
	require.NoError(t, err)
	require.Equal(t, d, img.Digest)
}

// Why an image is not removed is said in Docker's words.
func TestRemoveImageConflicts(t *testing.T) {
	e := newEngine(t)
	name := pullBusybox(t, e)
	img, err := e.Image(t.Context(), name)
	require.NoError(t, err)
	id := img.ID.Encoded()[:12]
	require.NoError(t, e.Tag(t.Context(), name, "other"))
	refuses := func(ref string, force bool, words string) {
		t.Helper()
		_, err := e.RemoveImage(t.Context(), ref, &RemoveImageOptions{Force: force})
		var why *Error
		require.ErrorAs(t, err, &why)
		require.Equal(t, Conflict, why.Kind)
		require.EqualError(t, err, words)
	}
	refuses(id, false, "conflict: unable to delete "+id+" (must be forced) - image is referenced in multiple repositories")
	_, err = e.RemoveImage(t.Context(), "other", nil)
	require.NoError(t, err)
	cfg := Config{Image: name, Command: []string{"sleep", "1000"}, AutoRemove: true, Network: "none"}
	c, err := e.Create(t.Context(), &cfg)
	require.NoError(t, err)
	refuses(name, false, `conflict: unable to remove repository reference "`+registry.Familiar(name)+`" (must force) - container `+
		c.ShortID()+` is using its referenced image `+id)
	refuses(id, false, "conflict: unable to delete "+id+" (must be forced) - image is being used by stopped container "+c.ShortID())
	run, err := e.Start(t.Context(), c.ID, nil)
	require.NoError(t, err)
	refuses(id, false, "conflict: unable to delete "+id+" (cannot be forced) - image is being used by running container "+c.ShortID())
	refuses(id, true, "conflict: unable to delete "+id+" (cannot be forced) - image is being used by running container "+c.ShortID())
	require.NoError(t, e.Kill(t.Context(), c.ID, syscall.SIGKILL))
	require.Error(t, run.Wait(t.Context()))
	_, err = e.RemoveImage(t.Context(), id, &RemoveImageOptions{Force: true})
	require.NoError(t, err)

	require.ErrorIs(t, e.Tag(t.Context(), "nothing", "other"), fs.ErrNotExist)
	require.ErrorContains(t, e.Tag(t.Context(), "nothing", "other"), "No such image: nothing:latest")
}
