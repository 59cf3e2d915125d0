package peers

import (
	"archive/tar"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testimage"
)

// imageName is what the programs call the image of the tests: busybox.
const imageName = "localhost/box:latest"

// newImage writes the image's archive into dir: an OCI image layout that is one of `docker save`, too.
func newImage(t testing.TB, dir string) string {
	t.Helper()
	image := testimage.New(t, ocispec.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}}, testimage.Busybox(t))
	manifest := image.Manifest.Descriptor
	manifest.Annotations = map[string]string{
		ocispec.AnnotationRefName: imageName, "io.containerd.image.name": imageName,
	}
	path := func(b testimage.Blob) string {
		return "blobs/" + b.Descriptor.Digest.Algorithm().String() + "/" + b.Descriptor.Digest.Encoded()
	}
	var layers []string
	for _, b := range image.Blobs[1:] {
		layers = append(layers, path(b))
	}
	document := func(v any) []byte {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return b
	}
	files := map[string][]byte{
		ocispec.ImageLayoutFile: document(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
		ocispec.ImageIndexFile: document(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
			Manifests: []ocispec.Descriptor{manifest},
		}),
		"manifest.json": document([]map[string]any{
			{"Config": path(image.Blobs[0]), "RepoTags": []string{imageName}, "Layers": layers},
		}),
	}
	for _, b := range append(image.Blobs, image.Manifest) {
		files[path(b)] = b.Content
	}
	name := filepath.Join(dir, "image.tar")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer f.Close()
	w := tar.NewWriter(f)
	for name, content := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(content))}))
		_, err := w.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return name
}
