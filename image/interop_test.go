package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// skopeo runs skopeo and returns what it prints.
func skopeo(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("skopeo", append([]string{"--insecure-policy"}, args...)...)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	require.NoError(t, cmd.Run(), diag.String())
	return out.String()
}

// newDockerRegistry starts Debian's docker-registry on a port of its own and returns its host.
func newDockerRegistry(t *testing.T) string {
	testenv.RequireCommand(t, "docker-registry")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := l.Addr().String()
	require.NoError(t, l.Close())
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	require.NoError(t, writeFile(config, fmt.Appendf(nil, "version: 0.1\nlog: {level: error}\n"+
		"storage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %q}\n", dir, host)))
	cmd := exec.Command("docker-registry", "serve", config)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	}, time.Minute, 20*time.Millisecond)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return host
}

func TestSkopeoReadsOurStore(t *testing.T) {
	testenv.RequireCommand(t, "skopeo")
	s, img, f := pulled(t, twoLayers.layers...)
	s.mustTag(t, img.ID.String(), "alpine")
	var got struct {
		Name   string
		Digest digest.Digest
		Layers []digest.Digest
	}
	for _, name := range []string{f.ref("app:v1"), "docker.io/library/alpine:latest"} {
		require.NoError(t, json.Unmarshal([]byte(skopeo(t, "inspect", "oci:"+s.Dir()+":"+name)), &got))
		require.Equal(t, img.Digest, got.Digest)
		require.Equal(t, []digest.Digest{img.blobs[0].Digest, img.blobs[1].Digest}, got.Layers)
	}
	to := t.TempDir()
	skopeo(t, "copy", "oci:"+s.Dir()+":docker.io/library/alpine:latest", "dir:"+to)
	require.FileExists(t, filepath.Join(to, img.blobs[0].Digest.Encoded()))
}

func TestSkopeoReadsOurIndex(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "skopeo")
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	other := f.add(t, testImage{
		platform: ocispec.Platform{OS: "linux", Architecture: "s390x"}, layers: []testLayer{{"a": "s390x"}},
	})
	f.addIndex(t, "v1", other, f.add(t, twoLayers))
	img, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Platform: "linux/amd64"})
	require.NoError(t, err)
	var config ocispec.Image
	out := skopeo(t, "--override-arch", "amd64", "inspect", "--config", "oci:"+s.Dir()+":"+f.ref("app:v1"))
	require.NoError(t, json.Unmarshal([]byte(out), &config))
	require.Equal(t, img.Config.RootFS, config.RootFS)
}

func TestSkopeoWritesIntoOurStore(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "skopeo")
	f := newFakeRegistry(t)
	f.add(t, twoLayers, "v1")
	f.add(t, testImage{layers: twoLayers.layers[:1]}, "v2")
	s := openStore(t, t.TempDir())
	for tag, name := range map[string]string{"v1": "docker.io/library/full:1", "v2": "short"} {
		skopeo(t, "copy", "--src-tls-verify=false", "docker://"+f.ref("app:"+tag), "oci:"+s.Dir()+":"+name)
	}
	require.NoError(t, s.Check(t.Context(), &CheckOptions{Deep: true, Unreferenced: true}))
	list, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, i := range list {
		require.Nil(t, i.Layers, "not extracted yet")
	}
	img, err := s.Get(t.Context(), "full:1", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/full:1"}, img.Names)
	require.Equal(t, "one", content(t, img, 0, "etc/motd"))
	img, err = s.Get(t.Context(), "short", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/short:latest"}, img.Names)

	// A name that we have, and that it writes anew in its own way.
	s.mustTag(t, "short", "full:1")
	skopeo(t, "copy", "--src-tls-verify=false", "docker://"+f.ref("app:v1"), "oci:"+s.Dir()+":full:1")
	img, err = s.Get(t.Context(), "full:1", nil)
	require.NoError(t, err)
	require.Len(t, img.Layers, 2)
	done, err := s.Remove(t.Context(), "full:1", nil)
	require.NoError(t, err)
	require.Contains(t, done.Deleted, img.ID)
	_, err = s.Get(t.Context(), "full:1", nil)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestPullFromDockerRegistry(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "skopeo")
	host := newDockerRegistry(t)
	f := newFakeRegistry(t)
	f.add(t, twoLayers, "v1")
	for format, mediaType := range map[string]string{
		"oci": ocispec.MediaTypeImageManifest, "v2s2": "application/vnd.docker.distribution.manifest.v2+json",
	} {
		skopeo(t, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", format,
			"docker://"+f.ref("app:v1"), "docker://"+host+"/team/app:"+format)
		s := openStore(t, t.TempDir())
		var e events
		img, err := Pull(t.Context(), s, host+"/team/app:"+format, &PullOptions{Progress: e.add})
		require.NoError(t, err)
		require.Equal(t, mediaType, img.target.MediaType)
		require.Equal(t, "two", content(t, img, 1, "etc/issue"))
		out := skopeo(t, "inspect", "--tls-verify=false", "docker://"+host+"/team/app:"+format)
		require.True(t, strings.Contains(out, img.Digest.String()), out)
		_, err = Pull(t.Context(), s, host+"/team/app:none", nil)
		require.Error(t, err)
	}
}
