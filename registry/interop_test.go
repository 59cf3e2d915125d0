package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net"
	"os"
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

// run runs a command and returns what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

func skopeoCopy(t testing.TB, from, to string, options ...string) {
	t.Helper()
	run(t, "skopeo", append([]string{"--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", from, to}, options...)...)
}

// newDockerRegistry starts Debian's docker-registry on a free port of loopback and returns its host.
func newDockerRegistry(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := l.Addr().String()
	require.NoError(t, l.Close())
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp: {addr: %q}\n", dir, host), 0o600))
	cmd := exec.Command("docker-registry", "serve", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c := newClient(t)
	c.Retries = -1
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := c.Ping(t.Context(), host)
		if err == nil {
			return host
		}
		require.Less(t, time.Since(start), 30*time.Second, "docker-registry does not come up: %v\n%s", err, &log)
	}
}

// pushRealImage pushes an image with a real configuration and a real layer, and an index that names it.
func pushRealImage(t testing.TB, c *Client, ref Reference) (manifest, layer ocispec.Descriptor) {
	t.Helper()
	var inflated, deflated bytes.Buffer
	tw := tar.NewWriter(&inflated)
	content := randomBytes(3 << 20)
	require.NoError(t, tw.WriteHeader(&tar.Header{Name: "data", Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX}))
	_, err := tw.Write(content)
	require.NoError(t, err)
	require.NoError(t, tw.Close())
	zw := gzip.NewWriter(&deflated)
	_, err = zw.Write(inflated.Bytes())
	require.NoError(t, err)
	require.NoError(t, zw.Close())

	image := ocispec.Image{Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}}
	image.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(inflated.Bytes())}}
	config, err := json.Marshal(image)
	require.NoError(t, err)
	layer = describing(ocispec.MediaTypeImageLayerGzip, deflated.Bytes())
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: describing(ocispec.MediaTypeImageConfig, config), Layers: []ocispec.Descriptor{layer},
	}
	m.SchemaVersion = 2
	for _, b := range [][]byte{config, deflated.Bytes()} {
		_, err := c.PushBlob(t.Context(), ref, BlobUpload{Descriptor: describing("", b), Content: bytes.NewReader(b)})
		require.NoError(t, err)
	}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, c.PushManifest(t.Context(), ref, ocispec.Descriptor{}, text))
	manifest = describing(ocispec.MediaTypeImageManifest, text)

	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{manifest}}
	index.SchemaVersion = 2
	index.Manifests[0].Platform = &image.Platform
	text, err = json.Marshal(index)
	require.NoError(t, err)
	ref.Tag = "index"
	require.NoError(t, c.PushManifest(t.Context(), ref, ocispec.Descriptor{}, text))
	return manifest, layer
}

func requireImage(t testing.TB, c *Client, ref Reference, manifest, layer ocispec.Descriptor) {
	t.Helper()
	desc, _, err := c.Manifest(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, manifest, desc)
	_, err = readBlob(t, c, ref, layer)
	require.NoError(t, err)
}

// TestDockerRegistry pushes to Debian's docker-registry and pulls from it, ourselves and with skopeo.
func TestDockerRegistry(t *testing.T) {
	testenv.RequireCommand(t, "docker-registry", "skopeo")
	host, c := newDockerRegistry(t), newClient(t)
	ref := parse(t, host+"/team/app:1")
	manifest, layer := pushRealImage(t, c, ref)
	requireImage(t, c, ref, manifest, layer)

	layout := t.TempDir()
	skopeoCopy(t, "docker://"+ref.String(), "oci:"+layout+":x")
	skopeoCopy(t, "oci:"+layout+":x", "docker://"+host+"/copied:1")
	requireImage(t, c, parse(t, host+"/copied:1"), manifest, layer)

	tags, err := c.Tags(t.Context(), ref)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"1", "index"}, tags)
	out, err := c.PushBlob(t.Context(), parse(t, host+"/mounted"), BlobUpload{Descriptor: layer, MountFrom: "team/app"})
	require.NoError(t, err)
	require.Equal(t, BlobMounted, out)

	skopeoCopy(t, "oci:"+layout+":x", "docker://"+host+"/docker:1", "--format", "v2s2")
	desc, _, err := c.Manifest(t.Context(), parse(t, host+"/docker:1"))
	require.NoError(t, err)
	require.Equal(t, MediaTypeDockerManifest, desc.MediaType)

	_, _, err = c.Manifest(t.Context(), parse(t, host+"/team/app:none"))
	require.ErrorIs(t, err, ErrNotFound)
	_, err = c.Blob(t.Context(), ref, describing("", []byte("no such blob")))
	require.ErrorIs(t, err, ErrNotFound)
}

// TestSkopeo has skopeo push to our server and pull from it, and copy between it and docker-registry.
func TestSkopeo(t *testing.T) {
	testenv.RequireCommand(t, "docker-registry", "skopeo")
	store := newFolder(t)
	host, c := newServer(t, &Server{Store: store}), newClient(t)
	ref := parse(t, host+"/team/app:1")
	manifest, layer := pushRealImage(t, c, ref)

	layout := t.TempDir()
	skopeoCopy(t, "docker://"+ref.String(), "oci:"+layout+":x")
	skopeoCopy(t, "oci:"+layout+":x", "docker://"+host+"/a/copied:1")
	requireImage(t, c, parse(t, host+"/a/copied:1"), manifest, layer)
	skopeoCopy(t, "oci:"+layout+":x", "docker://"+host+"/docker:1", "--format", "v2s2")
	desc, _, err := c.Manifest(t.Context(), parse(t, host+"/docker:1"))
	require.NoError(t, err)
	require.Equal(t, MediaTypeDockerManifest, desc.MediaType)

	index := ref
	index.Tag = "index"
	skopeoCopy(t, "docker://"+index.String(), "docker://"+host+"/all:1", "--all")
	desc, _, err = c.Manifest(t.Context(), parse(t, host+"/all:1"))
	require.NoError(t, err)
	require.Equal(t, ocispec.MediaTypeImageIndex, desc.MediaType)
	requireImage(t, c, parse(t, host+"/all@"+string(manifest.Digest)), manifest, layer)

	debian := newDockerRegistry(t)
	skopeoCopy(t, "docker://"+ref.String(), "docker://"+debian+"/x:1")
	skopeoCopy(t, "docker://"+debian+"/x:1", "docker://"+host+"/back:1")
	requireImage(t, c, parse(t, host+"/back:1"), manifest, layer)

	require.Contains(t, run(t, "skopeo", "list-tags", "--tls-verify=false", "docker://"+ref.Name()), `"index"`)
	run(t, "skopeo", "delete", "--tls-verify=false", "docker://"+host+"/back:1")
	_, _, err = c.Manifest(t.Context(), parse(t, host+"/back:1"))
	require.ErrorIs(t, err, ErrNotFound)
}

// TestSkopeoCredentials has skopeo and our server agree about a password.
func TestSkopeoCredentials(t *testing.T) {
	testenv.RequireCommand(t, "skopeo")
	issuer := &tokenServer{user: "ann", password: "s3cret", ttl: 300}
	host := issuer.protect(t, "http://"+newServer(t, issuer)+"/token", nil)
	c := newClient(t)
	c.Credentials = always(Credential{Username: "ann", Password: "s3cret"})
	ref := parse(t, host+"/team/app:1")
	manifest, layer := pushRealImage(t, c, ref)
	layout := t.TempDir()
	skopeoCopy(t, "docker://"+ref.String(), "oci:"+layout+":x", "--src-creds", "ann:s3cret")
	skopeoCopy(t, "oci:"+layout+":x", "docker://"+host+"/copied:1", "--dest-creds", "ann:s3cret")
	requireImage(t, c, parse(t, host+"/copied:1"), manifest, layer)
	out, err := exec.CommandContext(t.Context(), "skopeo", "inspect", "--tls-verify=false", "--creds", "ann:no", "docker://"+ref.String()).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, strings.ToLower(string(out)), "unauthorized")
}
